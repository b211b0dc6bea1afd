"""How a mean over dates varies, where the moves of neighbouring dates overlap."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

Float64Array = npt.NDArray[np.float64]


def lags_of(dates: int, *, horizon: int) -> int:
    """Over how many lags dates are taken to depend on each other.

    As many as Lazarus et al. advise, and at least twice the horizon, or half of the dates
    where they are fewer: over the horizon's overlap alone the falling weights of
    ``mean_error`` would take a third off what it adds.

    Args:
        dates: how many there are.
        horizon: dates that a forecast spans, as ``dates_of`` counts them.

    Source:
        1.3·√dates: Lazarus, Lewis, Stock and Watson, "HAR inference", JBES 36 (2018).
    """
    twice = min(2 * horizon, dates // 2)
    return max(horizon - 1, twice, math.ceil(1.3 * math.sqrt(dates)))


def mean_error(values: Float64Array, *, horizon: int) -> float:
    """Standard error of the mean of values that overlap, corrected for a small sample.

    Args:
        values: float64, shape (dates,), in order of time.
        horizon: dates that each spans.

    Returns:
        At least 0; NaN where dates are no more than the lags and one.

    Source:
        The long-run variance: Newey and West, Econometrica 55 (1987).  The correction,
        which counts its lags: Harvey, Leybourne and Newbold, "Testing the equality of
        prediction mean squared errors", IJF 13 (1997), equation 9.
    """
    dates = len(values)
    lags = lags_of(dates, horizon=horizon)
    if dates <= lags + 1:
        return math.nan
    centred = values - values.mean()
    covariances = [centred[lag:] @ centred[: dates - lag] for lag in range(lags + 1)]
    weights = 2 * (1 - np.arange(lags + 1) / (lags + 1))
    weights[0] = 1
    used = lags + 1
    correction = (dates + 1 - 2 * used + used * (used - 1) / dates) / dates
    spread = max(float(weights @ covariances), 0.0)  # that of a constant may round below 0
    return math.sqrt(spread / correction) / dates


def expanded_tail(blocks: float, *, confidence: float) -> float:
    """The tail to cut off a block bootstrap, so that few blocks do not make it too narrow.

    Args:
        blocks: how many the sample holds, more than 1.
        confidence: of the interval, in (0, 1).

    Returns:
        In (0, (1 - confidence)/2).

    Source:
        Percentiles are expanded as in Hesterberg, "What teachers should know about the
        bootstrap", The American Statistician 69 (2015), section 5.3, with the number of
        blocks as n.
    """
    student = stats.t.ppf((1 - confidence) / 2, df=blocks - 1)
    return float(stats.norm.cdf(student * (blocks / (blocks - 1)) ** 0.5))
