"""Labelled texts from a table, and a split that near-duplicates cannot leak over."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import pandas as pd

from megatick_contract import LABELS, Label
from megatick_training.errors import DataError, TimeError
from megatick_training.near_duplicates import (
    LEAKING_RESEMBLANCE,
    IntArray,
    near_duplicate_groups,
)
from megatick_training.reading import read_rows
from megatick_training.splits import hold_back
from megatick_training.times import utc_times

NO_SYNONYMS: Final[Mapping[str, Label]] = MappingProxyType({})
_NEEDED: Final = ("text", "label")


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and their classes.

    Attributes:
        texts: n texts.
        classes: shape (n,), indices into ``LABELS``.
        published_at: n times in UTC, where the table has them.
        symbols: the n texts' symbols, where the table has them.
        ids: what the n rows are called, where the table says.
    """

    texts: tuple[str, ...]
    classes: IntArray
    published_at: pd.DatetimeIndex | None = None
    symbols: tuple[tuple[str, ...], ...] | None = None
    ids: tuple[str, ...] | None = None

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: IntArray) -> LabelledTexts:
        """Pick rows, in the order given."""
        symbols, ids, times = self.symbols, self.ids, self.published_at
        return LabelledTexts(
            tuple(self.texts[row] for row in rows),
            self.classes[rows],
            None if times is None else times[rows],
            None if symbols is None else tuple(symbols[row] for row in rows),
            None if ids is None else tuple(ids[row] for row in rows),
        )

    @cached_property
    def _groups(self) -> IntArray:
        return near_duplicate_groups(self.texts, at_least=LEAKING_RESEMBLANCE)

    def groups(self) -> IntArray:
        """Number the group of near-duplicates that each text belongs to.

        Returns:
            Shape (n,); no two texts of different groups resemble each other by
            ``LEAKING_RESEMBLANCE`` or more.
        """
        return self._groups

    def split(self, *, held_back: float, seed: int) -> tuple[LabelledTexts, LabelledTexts]:
        """Split by groups of near-duplicates: two of a group never part.

        Args:
            held_back: share of the groups to hold back, in (0, 1).
            seed: of the shuffle.

        Returns:
            What to train on, and what is held back.
        """
        train, test = hold_back(self.groups(), share=held_back, seed=seed)
        return self.take(train), self.take(test)


def read_labelled_texts(
    path: Path,
    *,
    split: str | None = None,
    synonyms: Mapping[str, Label] = NO_SYNONYMS,
) -> LabelledTexts:
    """Read CSV or JSON lines (gzip or not) or Parquet with the columns text and label.

    The columns ``published_at``, ``symbol`` (one, or a list) and ``id`` are read where the
    table has them.

    Args:
        path: the file, or a folder or glob of such files.
        split: keep only rows whose column ``split`` says this.
        synonyms: what other labels mean, as ``{"bullish": "positive"}``.

    Raises:
        DataError: a column is missing, a row cannot be read, a text is empty, a label is
            unknown, a time has no zone, or nothing is left.
    """
    needed = _NEEDED if split is None else (*_NEEDED, "split")
    rows = [
        (where, row)
        for where, row in read_rows(path, needed)
        if split is None or row["split"] == split
    ]
    if not rows:
        raise DataError(path, "holds no row" + (f" of split {split!r}" if split else ""))
    classes = _classes(path, rows, synonyms)
    for where, row in rows:
        if not str(row["text"] or "").strip():
            raise DataError(path, f"{where}: the text is empty: fill it, or drop the row")
    values = [row for _, row in rows]
    columns = {name for row in values for name in row}
    return LabelledTexts(
        tuple(str(row["text"]) for row in values),
        classes,
        _times(path, values) if "published_at" in columns else None,
        tuple(map(_symbols, values)) if "symbol" in columns else None,
        tuple(str(row.get("id")) for row in values) if "id" in columns else None,
    )


def read_synonyms(written: str) -> dict[str, Label]:
    """Read what labels mean from JSON, or from a file that holds it.

    Args:
        written: an object of label to negative, neutral or positive; or the path of one.

    Raises:
        DataError: neither, or a label is to mean something else.

    >>> read_synonyms('{"bullish": "positive"}')
    {'bullish': 'positive'}
    """
    inline = written.lstrip().startswith("{")
    source = Path("labels" if inline else written)
    try:
        read = json.loads(written if inline else source.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(source, f"expected JSON of what labels mean: {error}") from error
    if not isinstance(read, dict) or not set(read.values()) <= set(LABELS):
        raise DataError(
            source, f"expected an object of label to one of {list(LABELS)}, found {read!r}"
        )
    return read


def _classes(
    path: Path, rows: list[tuple[str, dict[str, Any]]], synonyms: Mapping[str, Label]
) -> IntArray:
    meaning: dict[str, Label] = {**{label: label for label in LABELS}, **synonyms}
    unknown: dict[str, str] = {}
    for where, row in rows:
        if row["label"] not in meaning:
            unknown.setdefault(str(row["label"]), where)
    if unknown:
        raise DataError(
            path,
            f"has labels {sorted(unknown)} (first in {next(iter(unknown.values()))}), "
            f"expected {list(LABELS)}: say what others mean, as "
            '{"bullish": "positive"}',
        )
    return np.array([LABELS.index(meaning[row["label"]]) for _, row in rows], np.intp)


def _times(path: Path, rows: list[dict[str, Any]]) -> pd.DatetimeIndex:
    try:
        return utc_times([row.get("published_at") for row in rows], what="published_at")
    except TimeError as error:
        raise DataError(path, str(error)) from error


def _symbols(row: dict[str, Any]) -> tuple[str, ...]:
    given = row.get("symbol")
    if given is None or given == "":
        return ()
    return tuple(map(str, given)) if isinstance(given, list) else (str(given),)
