"""Parting what is kept from what is held back, so that nothing leaks from one to the other.

A split is by group at random, by time, or by symbol; in each the groups (of near-duplicate
texts, as ``near_duplicate_groups`` makes them) stay on one side.  What would have to be on
both is on neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from megatick_training.errors import SplitError
from megatick_training.near_duplicates import IntArray

BoolArray = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Split:
    """Rows of a table, apart; a row may be on neither side.

    Attributes:
        kept: indices, rising.
        held_back: indices, rising.
    """

    kept: IntArray
    held_back: IntArray

    def refuse_leak(self, groups: IntArray) -> None:
        """Hold the split to groups: none is on both sides.

        Args:
            groups: of every row of the table, shape (n,).

        Raises:
            SplitError: a group is, or a side has no row.
        """
        sizes = len(self.kept), len(self.held_back)
        if not all(sizes):
            raise SplitError(
                "expected rows on both sides of the split, found {} kept and {} held back, "
                "of {}: ask for another share, or give more rows".format(
                    *sizes, len(groups)
                )
            )
        shared = np.intersect1d(groups[self.kept], groups[self.held_back])
        if len(shared):
            raise SplitError(
                f"{len(shared)} groups are on both sides of the split, that of row "
                f"{int(np.isin(groups, shared).argmax())} among them: split by these groups"
            )


def split_by_group(groups: IntArray, *, share: float, seed: int) -> Split:
    """Hold back whole groups at random.

    Args:
        groups: shape (n,).
        share: of the groups, in (0, 1).
        seed: of the deal.

    Raises:
        SplitError: a side has no row.
    """
    if len(np.unique(groups)) < 2:
        raise SplitError(
            f"expected two groups of near-duplicates or more, found all {len(groups)} rows "
            "in one: give other texts"
        )
    splitter = GroupShuffleSplit(1, test_size=share, random_state=seed)
    split = Split(*next(splitter.split(groups, groups=groups)))
    split.refuse_leak(groups)
    return split


def split_by_time(
    published_at: pd.DatetimeIndex,
    groups: IntArray,
    *,
    share: float,
    embargo: timedelta = timedelta(0),
) -> Split:
    """Hold back the latest rows.

    Args:
        published_at: n times.
        groups: shape (n,); a row that is held back is on neither side where its group has
            a row that is kept.
        share: of the rows, in (0, 1); rows of one time are on one side.
        embargo: what was published less than this before the first row that is held back
            is on neither side: its label may be made of prices after that moment.

    Raises:
        SplitError: a side has no row.

    Source:
        The embargo is that of López de Prado, Advances in Financial Machine Learning,
        2018, section 7.4.2, here before the boundary, as training is never later.
    """
    first = published_at.sort_values()[-max(1, round(share * len(published_at)))]
    return _whole(
        np.asarray(published_at < first - embargo),
        np.asarray(published_at >= first),
        groups,
    )


def split_by_symbol(
    symbols: Sequence[Sequence[str]], groups: IntArray, *, share: float, seed: int
) -> Split:
    """Hold back some symbols, with all that is about them.

    Args:
        symbols: of each of n rows; one without any, or of symbols on both sides, is on
            neither.
        groups: shape (n,); a row that is held back is on neither side where its group has
            a row that is kept.
        share: of the symbols, in (0, 1).
        seed: of the draw.

    Raises:
        SplitError: a side has no row.
    """
    known = np.array(sorted({symbol for row in symbols for symbol in row}), object)
    drawn = np.random.default_rng(seed).permutation(known)
    away = set(drawn[: round(share * len(known))])
    sides = [{symbol in away for symbol in row} for row in symbols]
    return _whole(
        np.array([side == {False} for side in sides]),
        np.array([side == {True} for side in sides]),
        groups,
    )


def _whole(kept: BoolArray, held_back: BoolArray, groups: IntArray) -> Split:
    """Take from what is held back whatever says again what is kept."""
    repeats = np.isin(groups, groups[kept])
    split = Split(np.flatnonzero(kept), np.flatnonzero(held_back & ~repeats))
    split.refuse_leak(groups)
    return split
