"""Is one forecaster's loss smaller than another's, or is that luck?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from megatick_training.errors import EvaluationError
from megatick_training.evaluation.overlap import lags_of, mean_error

Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class DieboldMariano:
    """The test that a's expected loss is smaller than b's.

    Attributes:
        statistic: below 0 where a's losses are the smaller.
        p_value: one-sided: how often a statistic at most this comes about when the
            expected losses are equal, in [0, 1].
        mean_difference: mean of a's loss less b's, in the unit of the loss.
    """

    statistic: float
    p_value: float
    mean_difference: float


def diebold_mariano(
    loss_a: Float64Array, loss_b: Float64Array, *, horizon: int
) -> DieboldMariano:
    """Test whether a has the smaller loss.

    A date's symbols depend on each other, so their losses are first averaged, and the
    dates are the sample, of which ``mean_error`` knows how its mean varies.  Where no loss
    differs, the p-value is 1: nothing was shown.

    Args:
        loss_a: float64, shape (dates, symbols) with NaN where there is none, or (dates,);
            dates in order of time.
        loss_b: likewise, of the same forecasts.
        horizon: dates that a forecast spans, as ``dates_of`` counts them.

    Raises:
        EvaluationError: shapes differ, or too few dates for the lags.

    Source:
        Diebold and Mariano, "Comparing predictive accuracy", JBES 13 (1995).
    """
    if loss_a.shape != loss_b.shape:
        raise EvaluationError(
            "losses to compare", f"one shape, {loss_a.shape}", f"{loss_b.shape}"
        )
    difference = _by_date(loss_a - loss_b)
    dates = len(difference)
    lags = lags_of(dates, horizon=horizon)
    if dates <= lags + 1:
        raise EvaluationError(
            "dates to compare losses on", f"more than {lags + 1}", str(dates)
        )
    mean = float(difference.mean())
    if not difference.any():
        return DieboldMariano(0.0, 1.0, mean)
    error = mean_error(difference, horizon=horizon)  # 0 if the same on every date
    statistic = mean / error if error else math.copysign(math.inf, mean)
    return DieboldMariano(statistic, float(stats.t.cdf(statistic, dates - 1)), mean)


def _by_date(difference: Float64Array) -> Float64Array:
    """Mean over a date's symbols; dates on which nothing was forecast fall away."""
    table = difference.reshape(len(difference), -1)
    known = ~np.isnan(table)
    some = known.any(axis=1)
    means: Float64Array = np.nanmean(table[some], axis=1)
    return means
