"""Means and correlations of events that are not independent, with intervals.

Events of one day share the day's moves, and returns over many bars overlap those of the
days before and after.  The bootstrap therefore draws whole days, and days that follow one
another together, in blocks about twice as long as the returns overlap.  Of simulated 95 %
intervals of returns over 5 and 20 daily bars, 92 to 94 % then hold the truth; of those made
by single days, 73 and 47 % do.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from arch.bootstrap import CircularBlockBootstrap
from scipy import stats

from megatick_training.evaluation.overlap import expanded_tail

Float64Array = npt.NDArray[np.float64]
BoolArray = npt.NDArray[np.bool_]
Days = npt.NDArray[np.datetime64]

CONFIDENCE: Final = 0.95
FEWEST_BLOCKS: Final = 10
_RESAMPLES: Final = 2000


@dataclass(frozen=True)
class Estimate:
    """A figure, and how it would vary with other days of events.

    Attributes:
        value: NaN where nothing gives it.
        interval: the ends of its 95 % interval, or None.
        why_no_interval: why there is none, or None where there is one.
        events: that it is of.
        days: on which these fall.
    """

    value: float
    interval: tuple[float, float] | None
    why_no_interval: str | None
    events: int
    days: int


def clustered_mean(
    values: Float64Array, first_days: Days, last_days: Days, *, seed: int
) -> Estimate:
    """Estimate the mean of values that overlap in time.

    Args:
        values: shape (events,), NaN where there is none.
        first_days: datetime64[D], shape (events,), the day on which each event falls.
        last_days: datetime64[D], shape (events,), the day up to which its value looks.
        seed: of the bootstrap.

    Source:
        Politis and Romano, "A circular block-resampling procedure for stationary data", in
        LePage and Billard, "Exploring the limits of bootstrap" (1992).  Percentiles are
        those of ``expanded_tail``: with 10 single days, 94 % of simulated 95 % intervals
        held the truth instead of 90 %.
    """
    there = np.isfinite(values)
    terms = np.stack([values, np.ones_like(values)], axis=1)[there]

    def mean(sums: Float64Array) -> float:
        return float(sums[0] / sums[1])

    return _estimate(mean, terms, first_days[there], last_days[there], seed=seed)


def clustered_rank_correlation(
    left: Float64Array,
    right: Float64Array,
    first_days: Days,
    last_days: Days,
    *,
    seed: int,
) -> Estimate:
    """Estimate Spearman's correlation of values that overlap in time.

    The bootstrap draws the ranks that the values have among all events, and does not rank
    what it drew anew.

    Args:
        left: shape (events,), NaN where there is none.
        right: likewise.
        first_days: as in ``clustered_mean``, whose sources are this one's.
        last_days: likewise.
        seed: of the bootstrap.
    """
    there = np.isfinite(left) & np.isfinite(right)
    x, y = (_centred_ranks(values[there]) for values in (left, right))
    terms = np.stack([np.ones_like(x), x, y, x * x, y * y, x * y], axis=1)

    def correlation(sums: Float64Array) -> float:
        n, x, y, xx, yy, xy = sums
        spread = (n * xx - x * x) * (n * yy - y * y)
        return float((n * xy - x * y) / spread**0.5) if spread > 0 else np.nan

    return _estimate(correlation, terms, first_days[there], last_days[there], seed=seed)


def _centred_ranks(values: Float64Array) -> Float64Array:
    """Ranks less their mean, by their number; ties share the mean of theirs."""
    count = len(values)
    ranks: Float64Array = (stats.rankdata(values) - (count + 1) / 2) / max(count, 1)
    return ranks


def _estimate(
    figure: Callable[[Float64Array], float],
    terms: Float64Array,
    first_days: Days,
    last_days: Days,
    *,
    seed: int,
) -> Estimate:
    """Estimate a figure of sums over events.

    Args:
        figure: takes sums, shape (terms,), and gives NaN where they do not tell it.
        terms: shape (events, terms).
        first_days: as in ``clustered_mean``.
        last_days: likewise.
        seed: of the bootstrap.
    """
    days, of = np.unique(first_days, return_inverse=True)
    if not len(days):
        return Estimate(np.nan, None, "no event has it", events=0, days=0)
    value = figure(terms.sum(axis=0))
    interval: tuple[float, float] | None = None
    overlap = np.median(np.searchsorted(days, last_days) - of)
    block = max(2 * int(np.ceil(overlap)) - 1, 1)  # of days on which there are events
    enough = FEWEST_BLOCKS * block
    why: str | None = None
    if np.isnan(value):
        why = "all are alike"
    elif len(days) < enough:
        why = f"{len(days)} days with events, at least {enough} are needed"
    else:
        by_day = np.stack([np.bincount(of, weights=term) for term in terms.T], axis=1)
        drawn = CircularBlockBootstrap(block, by_day, seed=seed).apply(
            lambda sample: np.array(figure(sample.sum(axis=0))), reps=_RESAMPLES
        )
        if np.isnan(drawn).any():
            why = "too few days differ"
        else:
            tail = expanded_tail(len(days) / block, confidence=CONFIDENCE)
            low, high = np.quantile(drawn, [tail, 1 - tail])
            interval = float(low), float(high)
    return Estimate(value, interval, why, events=len(terms), days=len(days))
