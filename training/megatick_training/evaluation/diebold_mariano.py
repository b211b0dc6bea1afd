"""Is one forecaster's loss smaller than another's, or is that luck?"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

from megatick_training.errors import EvaluationError

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
    dates are the sample.  Its long-run variance is Newey and West's, over as many lags as
    Lazarus et al. advise, and at least twice the horizon, or half of the dates where they
    are fewer: over the horizon's overlap alone the falling weights would take a third off
    what it adds.  Harvey, Leybourne and Newbold's correction for a small sample counts
    those lags.  Where no loss differs, the p-value is 1: nothing was shown.

    Args:
        loss_a: float64, shape (dates, symbols) with NaN where there is none, or (dates,);
            dates in order of time.
        loss_b: likewise, of the same forecasts.
        horizon: bars that a forecast spans, at one forecast a bar.

    Raises:
        EvaluationError: shapes differ, or too few dates for the lags.

    Source:
        Diebold and Mariano, "Comparing predictive accuracy", JBES 13 (1995); Harvey,
        Leybourne and Newbold, "Testing the equality of prediction mean squared errors",
        IJF 13 (1997), equation 9; Newey and West, Econometrica 55 (1987); lags of
        1.3·√dates from Lazarus, Lewis, Stock and Watson, "HAR inference", JBES 36 (2018).
    """
    if loss_a.shape != loss_b.shape:
        raise EvaluationError(
            "losses to compare", f"one shape, {loss_a.shape}", f"{loss_b.shape}"
        )
    difference = _by_date(loss_a - loss_b)
    dates = len(difference)
    twice = min(2 * horizon, dates // 2)
    lags = max(horizon - 1, twice, math.ceil(1.3 * math.sqrt(dates)))
    if dates <= lags + 1:
        raise EvaluationError(
            "dates to compare losses on", f"more than {lags + 1}", str(dates)
        )
    mean = float(difference.mean())
    if not difference.any():
        return DieboldMariano(0.0, 1.0, mean)
    variance = _long_run_variance(difference, lags=lags) / dates
    used = lags + 1
    correction = (dates + 1 - 2 * used + used * (used - 1) / dates) / dates
    if variance > 0:
        statistic = mean * math.sqrt(correction / variance)
    else:  # the difference is the same on every date
        statistic = math.copysign(math.inf, mean)
    return DieboldMariano(statistic, float(stats.t.cdf(statistic, dates - 1)), mean)


def _long_run_variance(values: Float64Array, *, lags: int) -> float:
    """Newey and West's: autocovariances with weights that fall linearly to 0."""
    centred = values - values.mean()
    number = len(values)
    covariances = [centred[lag:] @ centred[: number - lag] for lag in range(lags + 1)]
    weights = 2 * (1 - np.arange(lags + 1) / (lags + 1))
    weights[0] = 1
    return float(weights @ covariances / number)


def _by_date(difference: Float64Array) -> Float64Array:
    """Mean over a date's symbols; dates on which nothing was forecast fall away."""
    table = difference.reshape(len(difference), -1)
    known = ~np.isnan(table)
    some = known.any(axis=1)
    means: Float64Array = np.nanmean(table[some], axis=1)
    return means
