"""What a forecaster may lean on: the candidates, and how one is fitted.

Each is a case of the served formula.  With z the return to a horizon in units of the
volatility to it, a candidate says

    z = shift + scale · noise,   log scale = intercept + features · log_scale,
                                 shift = features · location

and the noise has the quantiles that calibration gives it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
from sklearn.linear_model import GammaRegressor, HuberRegressor

Float64Array = npt.NDArray[np.float64]
Features = Mapping[str, Float64Array]

_LEAST_MOVE: Final = 0.01
"""A gamma has no mass at 0: a smaller |z| counts as this."""
_RIDGE: Final = 1e-4
_ITERATIONS: Final = 1000

VOLATILITY: Final = ("log_volatility", "absolute_5", "absolute_20", "absolute_63")
_LEVERAGE: Final = (*VOLATILITY, "momentum_5", "momentum_20", "last_move")
_MOMENTUM: Final = ("last_return", "momentum_5", "momentum_20", "momentum_63")
_TONE: Final = ("sentiment_mean", "sentiment_last")
_FLOW: Final = ("news_weight", "news_count")
SENTIMENT: Final = (*_TONE, *_FLOW)


@dataclass(frozen=True)
class Candidate:
    """A shape of the forecaster.

    Attributes:
        name: in words.
        scale: features of the log scale.
        location: features of the shift.
        skewed: whether lower and upper quantiles are calibrated apart; if not, the noise
            is symmetric around 0.
    """

    name: str
    scale: tuple[str, ...] = ()
    location: tuple[str, ...] = ()
    skewed: bool = False


RANDOM_WALK: Final = Candidate("random walk")
FROM_PRICES: Final = (
    RANDOM_WALK,
    Candidate("with drift", skewed=True),
    Candidate("scale: volatility", scale=("log_volatility",)),
    Candidate("scale: past moves", scale=VOLATILITY),
    Candidate("scale: past moves, leverage", scale=_LEVERAGE),
    Candidate("scale: past moves, leverage, with drift", scale=_LEVERAGE, skewed=True),
    Candidate(
        "scale: past moves, leverage, location: momentum",
        scale=_LEVERAGE,
        location=_MOMENTUM,
    ),
)
FROM_NEWS: Final = (
    Candidate("scale: leverage, news", scale=(*_LEVERAGE, *_FLOW)),
    Candidate(
        "scale: leverage, news, location: news",
        scale=(*_LEVERAGE, *_FLOW),
        location=_TONE,
    ),
)


def candidates_of(*, news: bool) -> tuple[Candidate, ...]:
    """The candidates that compete, the simplest first; without news none leans on it."""
    return (*FROM_PRICES, *(FROM_NEWS if news else ()))


@dataclass(frozen=True)
class Fit:
    """A candidate's numbers at one horizon.

    Attributes:
        candidate: whose.
        intercept: of the log scale.
        log_scale: by feature.
        location: by feature, in volatilities to the horizon.
    """

    candidate: Candidate
    intercept: float
    log_scale: dict[str, float]
    location: dict[str, float]

    def noise(self, values: Features, moves: Float64Array) -> Float64Array:
        """What is left of standardised moves, in scales; shape (rows,)."""
        scale = np.exp(self.intercept + _dot(values, self.log_scale))
        left: Float64Array = (moves - _dot(values, self.location)) / scale
        return left

    def quantiles(self, values: Features, noise: Float64Array) -> Float64Array:
        """Quantiles of the standardised move, shape (rows, Q), from those of the noise."""
        scale = np.exp(self.intercept + _dot(values, self.log_scale))
        shift = _dot(values, self.location)
        at: Float64Array = shift[:, None] + scale[:, None] * noise
        return at


def fit(candidate: Candidate, values: Features, moves: Float64Array) -> Fit:
    """Fit a candidate at one horizon.

    Args:
        candidate: what to fit.
        values: features by name, shape (rows,) each; its own at least.
        moves: shape (rows,), log returns in volatilities to the horizon.

    Source:
        The scale, by regression of absolute moves with a log link (a gamma): Davidian and
        Carroll, "Variance function estimation", JASA 82 (1987).  The location by Huber's
        M-estimator, so that crashes do not set it.
    """
    sizes = np.maximum(np.abs(moves), _LEAST_MOVE)
    intercept, log_scale, location = math.log(sizes.mean()), {}, {}
    if candidate.scale:
        gamma = GammaRegressor(alpha=_RIDGE, max_iter=_ITERATIONS)
        gamma.fit(_matrix(values, candidate.scale), sizes)
        intercept = float(gamma.intercept_)
        log_scale = dict(zip(candidate.scale, map(float, gamma.coef_), strict=True))
    if candidate.location:
        huber = HuberRegressor(max_iter=_ITERATIONS)
        huber.fit(_matrix(values, candidate.location), moves)
        location = dict(zip(candidate.location, map(float, huber.coef_), strict=True))
    return Fit(candidate, intercept, log_scale, location)


def _matrix(values: Features, names: tuple[str, ...]) -> Float64Array:
    return np.stack([values[name] for name in names], axis=1)


def _dot(values: Features, coefficients: Mapping[str, float]) -> Float64Array:
    total = np.zeros(len(next(iter(values.values()))))
    for name, coefficient in coefficients.items():
        total += coefficient * values[name]
    return total
