"""Texts with what is known of each, and how some of them are held back."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Generic, Literal, Self, TypeVar

import numpy as np
import pandas as pd

from megatick_training.errors import DataError, SplitError
from megatick_training.near_duplicates import (
    LEAKING_RESEMBLANCE,
    IntArray,
    NearDuplicates,
    near_duplicate_groups,
)
from megatick_training.splits import (
    Split,
    split_by_group,
    split_by_symbol,
    split_by_time,
)
from megatick_training.tables import (
    SYMBOL_NAMES,
    find_column,
    read_table,
    strings,
    symbols_of,
    texts_in,
    times,
)

SplitBy = Literal["group", "time", "symbol"]


@dataclass(frozen=True)
class Texts:
    """Texts, and when and of whom they were published.

    Attributes:
        texts: n texts.
        published_at: n times in UTC, where the table has them.
        symbols: the n texts' symbols, where the table has them.
    """

    texts: tuple[str, ...]
    published_at: pd.DatetimeIndex | None = field(default=None, kw_only=True)
    symbols: tuple[tuple[str, ...], ...] | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: IntArray) -> Self:
        """Pick rows, in the order given."""
        times, symbols = self.published_at, self.symbols
        return replace(
            self,
            texts=tuple(self.texts[row] for row in rows),
            published_at=None if times is None else times[rows],
            symbols=None if symbols is None else tuple(symbols[row] for row in rows),
        )

    @cached_property
    def groups(self) -> IntArray:
        """The group of near-duplicates that each text belongs to.

        Shape (n,); no two texts of different groups resemble each other by
        ``LEAKING_RESEMBLANCE`` or more.
        """
        return near_duplicate_groups(self.texts, at_least=LEAKING_RESEMBLANCE)

    def split(self, by: SplitBy, *, share: float, seed: int, embargo: timedelta) -> Split:
        """Split the texts; near-duplicates never part.

        Args:
            by: what is held back: groups at random, the latest texts, or symbols.
            share: of the groups, texts or symbols, in (0, 1).
            seed: of groups and symbols.
            embargo: of times; see ``split_by_time``.

        Raises:
            SplitError: the texts lack what they are split by, or a side has none.
        """
        match by:
            case "group":
                return split_by_group(self.groups, share=share, seed=seed)
            case "time" if self.published_at is not None:
                return split_by_time(
                    self.published_at, self.groups, share=share, embargo=embargo
                )
            case "symbol" if self.symbols is not None:
                return split_by_symbol(self.symbols, self.groups, share=share, seed=seed)
        column = "published_at" if by == "time" else "symbol"
        raise SplitError(
            f"expected a column {column!r} beside the texts to split them by {by}, found "
            "none: add it, or split by group"
        )


def repeating(known: Texts, *sets: Texts) -> tuple[int, ...]:
    """Count of each set the texts that resemble a known one by ``LEAKING_RESEMBLANCE``."""
    seen = NearDuplicates(at_least=LEAKING_RESEMBLANCE)
    for text in known.texts:
        seen.add(text)
    return tuple(sum(text in seen for text in each.texts) for each in sets)


AnyTexts = TypeVar("AnyTexts", bound=Texts)


@dataclass(frozen=True)
class HeldBack(Generic[AnyTexts]):
    """Texts in three parts that share neither a near-duplicate nor what they are split by.

    Attributes:
        by: what they are split by.
        train: to train on.
        dev: to choose by; none where no share was asked for.
        test: to be judged once; none likewise.
        left_out: how many texts are in no part.
    """

    by: SplitBy
    train: AnyTexts
    dev: AnyTexts
    test: AnyTexts
    left_out: int

    def __str__(self) -> str:
        if not (len(self.dev) or len(self.test)):
            return "Nothing is held back."
        said = f"What is held back is split by {self.by}."
        if self.left_out:
            said += (
                f"  {self.left_out:,} texts are in no part: they are in an embargo, name "
                "symbols of two parts or none, or say again what an earlier part says."
            )
        return said


def hold_back(
    texts: AnyTexts,
    by: SplitBy = "group",
    *,
    dev: float = 0.0,
    test: float = 0.0,
    seed: int = 0,
    embargo: timedelta = timedelta(0),
) -> HeldBack[AnyTexts]:
    """Hold texts back: first those of test, then those of dev out of what is left.

    Args:
        texts: to part.
        by: as ``Texts.split`` takes it, and the others.
        dev: share, in [0, 1).
        test: share, in [0, 1).
        seed: of groups and symbols.
        embargo: before dev and before test, by time.

    Raises:
        SplitError: as ``Texts.split``.
    """
    train, parts = texts, []
    for share in (test, dev):
        split = Split(np.arange(len(train)), np.arange(0))
        if share:
            split = train.split(by, share=share, seed=seed, embargo=embargo)
        parts.append(train.take(split.held_back))
        train = train.take(split.kept)
    left_out = len(texts) - len(train) - sum(map(len, parts))
    return HeldBack(by, train, dev=parts[1], test=parts[0], left_out=left_out)


def read_texts(path: Path, *, split: str | None = None) -> Texts:
    """Read the column text of a table that ``read_table`` reads; empty ones are left out.

    The columns ``published_at`` and ``symbol`` (one, or a list) are read where it has them.

    Args:
        path: the file.
        split: keep only rows whose column ``split`` says this.

    Raises:
        DataError: a column is missing, a time has no zone, or nothing is left.
    """
    rows = read_split(path, split)
    text = find_column(rows, ("text",), required_in=path)
    rows[text] = texts_in(rows[text], path).str.strip()
    rows = rows[rows[text] != ""]
    if rows.empty:
        raise DataError(path, "holds no text")
    return texts_of(rows, path)


def read_split(path: Path, split: str | None) -> pd.DataFrame:
    """Read the rows whose column ``split`` says this, or all.

    Raises:
        DataError: as ``read_table``, or there is no such row.
    """
    rows = read_table(path)
    if split is None:
        return rows
    rows = rows[strings(rows[find_column(rows, ("split",), required_in=path)]) == split]
    if rows.empty:
        raise DataError(path, f"holds no row of split {split!r}")
    return rows


def texts_of(rows: pd.DataFrame, path: Path) -> Texts:
    """Take the texts of a table that was read, and what it knows of each.

    Raises:
        DataError: the column text is missing, or a time has no zone.
    """
    text = find_column(rows, ("text",), required_in=path)
    published = find_column(rows, ("published_at",))
    symbol = find_column(rows, SYMBOL_NAMES)
    return Texts(
        tuple(texts_in(rows[text], path)),
        published_at=None if published is None else times(rows[published], path),
        symbols=None if symbol is None else symbols_of(rows[symbol]),
    )
