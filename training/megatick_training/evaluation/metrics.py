"""Measures of forecasts: of the distribution, its intervals, the price, the direction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.metrics import (
    mean_absolute_error,
    mean_absolute_percentage_error,
    mean_squared_error,
)

from megatick_training.errors import EvaluationError
from megatick_training.evaluation.overlap import mean_error

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
StrArray = npt.NDArray[np.str_]

COVERAGES: Final = (0.5, 0.8, 0.9)
"""Central intervals that the default levels hold."""

REGIMES: Final = ("calm", "middle", "stormy")
"""Thirds of a symbol's own volatility."""


def pinball_losses(
    observed: Float64Array, quantiles: Float64Array, levels: Float64Array
) -> Float64Array:
    """Pinball loss of each forecast at each level, ≥ 0, in the unit of the observed.

    Args:
        observed: float64, shape (n,).
        quantiles: float64, shape (n, Q), rising along Q.
        levels: float64, shape (Q,), each in (0, 1).

    Returns:
        float64, shape (n, Q).

    Source:
        Koenker and Bassett, "Regression quantiles", Econometrica 46 (1978): the loss
        whose expectation the quantile minimises.
    """
    miss = observed[:, None] - quantiles
    losses: Float64Array = np.maximum(levels * miss, (levels - 1) * miss)
    return losses


def crps(losses: Float64Array, levels: Float64Array) -> Float64Array:
    """Continuous ranked probability score from pinball losses, ≥ 0, in their unit.

    Twice the integral of the pinball loss over the level, by the trapezoidal rule; the
    loss vanishes at the levels 0 and 1, and is taken as linear up to the outermost levels.

    Args:
        losses: float64, shape (n, Q), as ``pinball_losses`` gives them.
        levels: float64, shape (Q,), rising, each in (0, 1).

    Returns:
        float64, shape (n,).

    Source:
        Gneiting and Ranjan, "Comparing density forecasts using threshold- and
        quantile-weighted scoring rules", JBES 29 (2011), equation 12 with weight 1.
    """
    ends = np.concatenate([[0.0], levels, [1.0]])
    weights = (ends[2:] - ends[:-2]) / 2  # (Q,)
    score: Float64Array = 2 * losses @ weights
    return score


@dataclass(frozen=True)
class Coverage:
    """How often the observed fell inside a central interval.

    Attributes:
        nominal: what the interval says of itself, in (0, 1).
        overall: share inside, in [0, 1].
        by_symbol: likewise, of each symbol alone.
        by_regime: likewise, of each third of ``REGIMES``.
    """

    nominal: float
    overall: float
    by_symbol: dict[str, float]
    by_regime: dict[str, float]


def interval_coverage(
    observed: Float64Array,
    quantiles: Float64Array,
    levels: Float64Array,
    *,
    nominal: float,
    symbols: StrArray,
    volatility: Float64Array,
) -> Coverage:
    """Count what fell inside the central interval of a nominal coverage, ends included.

    Args:
        observed: float64, shape (n,).
        quantiles: float64, shape (n, Q).
        levels: float64, shape (Q,).
        nominal: coverage, in (0, 1); the levels must hold both its ends.
        symbols: shape (n,).
        volatility: float64, shape (n,), as known when the forecast was made.

    Raises:
        EvaluationError: an end of the interval is not among the levels.
    """
    low, high = (level_column(levels, (1 + sign * nominal) / 2) for sign in (-1, 1))
    inside = pd.Series((quantiles[:, low] <= observed) & (observed <= quantiles[:, high]))
    return Coverage(
        nominal=nominal,
        overall=float(inside.mean()),
        by_symbol=_shares(inside, symbols),
        by_regime=_shares(inside, volatility_regimes(volatility, symbols)),
    )


def volatility_regimes(volatility: Float64Array, symbols: StrArray) -> StrArray:
    """Name the third of its own symbol's volatility that each forecast was made in.

    The thirds are of all that is judged, so they describe forecasts and cannot make one.

    Args:
        volatility: float64, shape (n,).
        symbols: shape (n,).

    Returns:
        Of ``REGIMES``, shape (n,).
    """
    ranks = pd.Series(volatility).groupby(symbols).rank(method="first", pct=True)
    thirds = np.ceil(ranks.to_numpy() * len(REGIMES)).astype(int) - 1
    named: StrArray = np.array(REGIMES)[thirds]
    return named


@dataclass(frozen=True)
class PriceErrors:
    """Errors of point forecasts of a price.

    Attributes:
        mse: mean squared error, price².
        mae: mean absolute error, price.
        mape: mean absolute error as a share of the observed price.
    """

    mse: float
    mae: float
    mape: float


def price_errors(observed: Float64Array, predicted: Float64Array) -> PriceErrors:
    """Measure point forecasts, both of shape (n,) and > 0."""
    return PriceErrors(
        mse=float(mean_squared_error(observed, predicted)),
        mae=float(mean_absolute_error(observed, predicted)),
        mape=float(mean_absolute_percentage_error(observed, predicted)),
    )


@dataclass(frozen=True)
class Direction:
    """How well up was told from down.

    Attributes:
        calls: forecasts that leaned to a side, of returns that were not 0.
        accuracy: share of them that were right, in [0, 1]; NaN without any.
        accuracy_se: its standard error; NaN on too few dates for one.
        mcc: Matthews correlation coefficient, in [-1, 1]; 0, without an error, where all
            lean or went one way.
        mcc_se: its standard error; NaN likewise.
    """

    calls: int
    accuracy: float
    accuracy_se: float
    mcc: float
    mcc_se: float


def direction(
    p_up: Float64Array,
    returns: Float64Array,
    dates: npt.NDArray[np.datetime64],
    *,
    horizon: int,
) -> Direction:
    """Judge the side that P(up) leans to; exactly one half leans to none.

    The sample of the standard errors is the dates: a date's symbols move together, and
    windows that overlap too (``mean_error``).

    Args:
        p_up: float64, shape (n,), in [0, 1].
        returns: float64, shape (n,), what followed.
        dates: shape (n,), when each forecast was made.
        horizon: dates that a return spans, as ``dates_of`` counts them.

    Source:
        The coefficient is Matthews', Biochimica et Biophysica Acta 405 (1975).  It is the
        correlation of two signs, and its error that of the mean of a correlation's
        influence function: Devlin, Gnanadesikan and Kettenring, "Robust estimation and
        outlier detection with correlation coefficients", Biometrika 62 (1975).
    """
    leans = (p_up != 0.5) & (returns != 0)
    if not leans.any():
        return Direction(0, *(float("nan"),) * 4)
    up, rose = p_up[leans] > 0.5, returns[leans] > 0
    days, day = np.unique(dates[leans], return_inverse=True)

    def error(influence: Float64Array) -> float:
        daily = np.bincount(day, influence) * len(days) / len(influence)
        return mean_error(daily, horizon=horizon)

    right = up == rose
    accuracy, mcc, mcc_influence = right.mean(), 0.0, np.zeros(len(up))
    if up.std() and rose.std():
        call, came = ((each - each.mean()) / each.std() for each in (up, rose))
        mcc = (call * came).mean()
        mcc_influence = call * came - mcc * (call**2 + came**2) / 2
    return Direction(
        calls=len(up),
        accuracy=float(accuracy),
        accuracy_se=error(right - accuracy),
        mcc=float(mcc),
        mcc_se=error(mcc_influence),
    )


def level_column(levels: Float64Array, level: float) -> int:
    """Find the column of a quantile level.

    Raises:
        EvaluationError: it is not among them.
    """
    found = np.flatnonzero(np.isclose(levels, level))
    if not len(found):
        raise EvaluationError(
            "quantile levels", f"{level:g} among them", ", ".join(f"{x:g}" for x in levels)
        )
    return int(found[0])


def _shares(inside: pd.Series[bool], groups: Sequence[str] | StrArray) -> dict[str, float]:
    shares = inside.groupby(np.asarray(groups)).mean()
    return {str(name): float(share) for name, share in shares.items()}
