"""Splits into what is trained on, chosen by, and judged, that nothing leaks over.

A split is by time, by symbol, or by group at random; in each the groups (of near-duplicate
texts, as ``near_duplicate_groups`` makes them) stay whole.  What would have to be on two
sides is on none.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from megatick_training.errors import SplitError
from megatick_training.near_duplicates import IntArray
from megatick_training.times import utc_times

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Rows of a table, apart; a row may be in none.

    Attributes:
        train: indices of the rows to fit on, rising.
        dev: of those to choose by.
        test: of those to judge on, once.
    """

    train: IntArray
    dev: IntArray
    test: IntArray

    def __post_init__(self) -> None:
        """Refuse a row that is in two parts."""
        rows = np.concatenate(self.parts())
        if len(np.unique(rows)) < len(rows):
            raise SplitError("a row is in two parts of the split, or twice in one")

    def parts(self) -> tuple[IntArray, IntArray, IntArray]:
        """Train, dev and test."""
        return self.train, self.dev, self.test

    def refuse_leak(self, groups: Sequence[Hashable] | IntArray) -> None:
        """Hold the split to groups: none is in two parts.

        Args:
            groups: of every row of the table, length n.

        Raises:
            SplitError: a group is in two parts.
        """
        codes = pd.factorize(np.asarray(groups))[0]
        train, dev, test = (set(codes[part].tolist()) for part in self.parts())
        shared = (train & dev) | (train & test) | (dev & test)
        if shared:
            row = int(np.flatnonzero(np.isin(codes, list(shared)))[0])
            raise SplitError(
                f"{len(shared)} groups are on two sides of the split, that of row {row} "
                "among them: split by these groups"
            )


def split_by_time(
    published_at: Sequence[object] | pd.Series,
    *,
    dev_from: object,
    test_from: object,
    embargo: pd.Timedelta,
    groups: IntArray | None = None,
) -> Split:
    """Train on the past, choose by what came after it, judge on the latest.

    Args:
        published_at: n times with a zone.
        dev_from: the first moment of dev, inclusive, with a zone.
        test_from: the first moment of test, inclusive, with a zone.
        embargo: what is published less than this before ``dev_from`` or ``test_from`` is
            in no part: its label may be made of prices after that moment.
        groups: shape (n,); a row whose group has a row in an earlier part is in none.

    Raises:
        DataError: a time is absent or has no zone.
        SplitError: the moments do not rise, or a part has no row.

    Source:
        The embargo is that of López de Prado, Advances in Financial Machine Learning,
        2018, section 7.4.2, here before each boundary, as training is never later.
    """
    times = utc_times(published_at, what="published_at")
    dev_at, test_at = utc_times([dev_from, test_from], what="dev_from, test_from")
    if not (dev_at < test_at and embargo >= pd.Timedelta(0)):
        raise SplitError(
            f"expected dev_from before test_from and an embargo of 0 or more, found "
            f"{dev_at}, {test_at} and {embargo}"
        )
    parts = [
        np.asarray(times < dev_at - embargo),
        np.asarray((times >= dev_at) & (times < test_at - embargo)),
        np.asarray(times >= test_at),
    ]
    if groups is not None:
        _leave_out_repeats(parts, groups)
    split = _whole(parts)
    if groups is not None:
        split.refuse_leak(groups)
    return split


def hold_back(groups: IntArray, *, share: float, seed: int) -> tuple[IntArray, IntArray]:
    """Deal whole groups into two parts at random.

    Args:
        groups: shape (n,).
        share: of the groups to hold back, in (0, 1).
        seed: of the deal.

    Returns:
        Rows to keep, and rows that are held back.
    """
    splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
    kept, held_back = next(splitter.split(groups, groups=groups))
    return kept, held_back


def split_by_group(groups: IntArray, *, dev: float, test: float, seed: int) -> Split:
    """Deal whole groups at random.

    Args:
        groups: shape (n,).
        dev: share of the groups, in [0, 1).
        test: share of the groups, in [0, 1).
        seed: of the deal.

    Raises:
        SplitError: the shares leave nothing, or a part that has a share has no row.
    """
    part_of = _deal(np.unique(groups), dev=dev, test=test, seed=seed)
    parts = [np.array([part_of[group] == part for group in groups]) for part in range(3)]
    split = _whole(parts, wanted=(True, dev > 0, test > 0))
    split.refuse_leak(groups)
    return split


def split_by_symbol(
    symbols: Sequence[str | Sequence[str]],
    *,
    dev: float,
    test: float,
    seed: int,
    groups: IntArray | None = None,
) -> Split:
    """Judge on symbols that were never trained on.

    Args:
        symbols: of each row, one or several; a row without one, or of symbols that are
            dealt to different parts, is in no part.
        dev: share of the symbols, in [0, 1).
        test: share of the symbols, in [0, 1).
        seed: of the deal.
        groups: shape (n,); a row whose group has a row in an earlier part is in none.

    Raises:
        SplitError: the shares leave nothing, or a part that has a share has no row.
    """
    named = [{each} if isinstance(each, str) else set(each) for each in symbols]
    known = np.array(sorted({symbol for row in named for symbol in row if symbol}), object)
    part_of = _deal(known, dev=dev, test=test, seed=seed)
    sides = [{part_of.get(symbol, -1) for symbol in row} for row in named]
    parts = [np.array([side == {part} for side in sides]) for part in range(3)]
    if groups is not None:
        _leave_out_repeats(parts, groups)
    split = _whole(parts, wanted=(True, dev > 0, test > 0))
    if groups is not None:
        split.refuse_leak(groups)
    return split


def _deal(
    things: npt.NDArray[np.generic], *, dev: float, test: float, seed: int
) -> dict[Hashable, int]:
    """Which part each thing belongs to: 0 train, 1 dev, 2 test."""
    if not (0 <= dev < 1 and 0 <= test < 1 and dev + test < 1):
        raise SplitError(f"expected shares that leave some to train, found {dev}, {test}")
    shuffled = np.random.default_rng(seed).permutation(things)
    in_test, in_dev = round(test * len(things)), round(dev * len(things))
    parts = np.zeros(len(things), int)
    parts[:in_test] = 2
    parts[in_test : in_test + in_dev] = 1
    return dict(zip(shuffled.tolist(), parts.tolist(), strict=True))


def _leave_out_repeats(parts: list[BoolArray], groups: IntArray) -> None:
    """Take from dev and test the rows whose group stands in a part before theirs."""
    for place in (1, 2):
        before = np.unique(groups[np.logical_or.reduce(parts[:place])])
        parts[place] &= ~np.isin(groups, before)


def _whole(
    parts: list[BoolArray], *, wanted: tuple[bool, bool, bool] = (True, True, True)
) -> Split:
    """Turn masks into a split, and refuse one with an empty part."""
    rows = [np.flatnonzero(part) for part in parts]
    sizes = [len(part) for part in rows]
    if any(want and not size for want, size in zip(wanted, sizes, strict=True)):
        raise SplitError(
            "expected rows in each part, found {} to train, {} in dev, {} in test".format(
                *sizes
            )
        )
    return Split(*rows)
