"""The distribution of the log return to each horizon, beside the random walk's.

A forecaster is a file of plain numbers.  Its one formula is a random walk whose location
and scale may lean on features:

    quantile = volatility · √horizon · (q · exp(features·log_scale) + features·location)

With no features it is the random walk itself.  ``q`` rises along the levels and the
exponential is positive, so quantiles never cross.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Annotated, Final, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from megatick_contract.prices import (
    STATE_LAST_SCORE,
    STATE_SCORE_SUM,
    STATE_TEXTS,
    STATE_WEIGHT,
)
from megatick_server.errors import ArtefactError
from megatick_server.sentiment import decay
from megatick_server.volatility import bar_returns, ewma_volatility

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_MAX_SECONDS: Final = 1e9
_MAX_HORIZON_BARS: Final = 100_000
_MAX_STANDARD_RETURN: Final = 100.0
_MAX_COEFFICIENT: Final = 10.0
_MAX_LOG_SCALE: Final = 3.0
"""However its features lean, a forecast is at most e³ = 20 times as wide as the file's
quantiles say, and as little as 1/20 of it."""
_EDGE_P_VALUE: Final = 0.05
"""An edge is claimed at the 5 % level, or not at all."""

_Seconds = Annotated[float, Field(gt=0, le=_MAX_SECONDS)]
_Fraction = Annotated[float, Field(gt=0, lt=1)]
_Probability = Annotated[float, Field(ge=0, le=1)]
_StandardReturn = Annotated[float, Field(ge=-_MAX_STANDARD_RETURN, le=_MAX_STANDARD_RETURN)]
_Coefficient = Annotated[float, Field(ge=-_MAX_COEFFICIENT, le=_MAX_COEFFICIENT)]
_Quantiles = tuple[tuple[_StandardReturn, ...], ...]
_Coefficients = tuple[tuple[_Coefficient, ...], ...]


@dataclass(frozen=True)
class Observed:
    """What is known when a forecast is made.

    Attributes:
        closes: float32, shape (rows, 64), oldest first, NaN where missing.
        volatility: float64, shape (rows,), of one bar.
        returns: float64, shape (rows, 63), log return ending at each bar, or NaN.
        spans: float64, shape (rows, 63), bars that each spans.
        state: float32, shape (rows, 4), the sentiment state, decayed to now.
    """

    closes: Float32Array
    volatility: Float64Array
    returns: Float64Array
    spans: Float64Array
    state: Float32Array


def observe(
    closes: Float32Array,
    state: Float32Array,
    elapsed_s: Float32Array,
    *,
    ewma_decay: float,
    half_life_s: float,
) -> Observed:
    """What the inputs of a forecast, as on the wire, say now."""
    returns, spans = bar_returns(closes)
    return Observed(
        closes=closes,
        volatility=ewma_volatility(closes, decay=ewma_decay),
        returns=returns,
        spans=spans,
        state=decay(state, elapsed_s, half_life_s=half_life_s),
    )


Feature = Callable[[Observed], Float64Array]


def _sentiment_mean(seen: Observed) -> Float64Array:
    weight = seen.state[:, STATE_WEIGHT].astype(np.float64)
    total = seen.state[:, STATE_SCORE_SUM].astype(np.float64)
    mean: Float64Array = np.divide(
        total, weight, out=np.zeros_like(total), where=weight > 0
    )
    return mean


def _last_return(seen: Observed) -> Float64Array:
    return _in_volatilities(seen.returns[:, -1], seen, bars=seen.spans[:, -1])


def _momentum(bars: int) -> Feature:
    def feature(seen: Observed) -> Float64Array:
        return _in_volatilities(np.nansum(seen.returns[:, -bars:], axis=1), seen, bars=bars)

    return feature


def _absolute(bars: int) -> Feature:
    def feature(seen: Observed) -> Float64Array:
        moves = np.abs(seen.returns[:, -bars:]) / np.sqrt(seen.spans[:, -bars:])
        known = (~np.isnan(moves)).sum(axis=1)
        mean = np.nansum(moves, axis=1) / np.maximum(known, 1)
        moved = (mean > 0) & (seen.volatility > 0)
        ratio = np.divide(mean, seen.volatility, out=np.ones_like(mean), where=moved)
        log_ratio: Float64Array = np.log(ratio)
        return log_ratio

    return feature


def _in_volatilities(
    returns: Float64Array, seen: Observed, *, bars: Float64Array | float
) -> Float64Array:
    """Log returns over so many bars in standard deviations; 0 where unknown or flat."""
    scale = seen.volatility * np.sqrt(bars)
    standard: Float64Array = np.divide(
        np.nan_to_num(returns), scale, out=np.zeros_like(scale), where=scale > 0
    )
    return standard


FEATURES: Final[dict[str, Feature]] = {
    # Decayed mean score, in [-1, 1]; 0 without news.
    "sentiment_mean": _sentiment_mean,
    # Score of the latest text, in [-1, 1]; 0 without news.
    "sentiment_last": lambda seen: seen.state[:, STATE_LAST_SCORE].astype(np.float64),
    # How much news still weighs: log(1 + decayed weight), ≥ 0.
    "news_weight": lambda seen: np.log1p(seen.state[:, STATE_WEIGHT].astype(np.float64)),
    # How much news there was: log(1 + texts), ≥ 0.
    "news_count": lambda seen: np.log1p(seen.state[:, STATE_TEXTS].astype(np.float64)),
    # The latest return in units of the volatility, and its size alone.
    "last_return": _last_return,
    "last_move": lambda seen: np.abs(_last_return(seen)),
    # The return over the latest bars in units of their volatility.
    "momentum_5": _momentum(5),
    "momentum_20": _momentum(20),
    "momentum_63": _momentum(63),
    # How large the volatility is: its log in per cent a bar, at least of 0.0001 %.
    "log_volatility": lambda seen: np.log(np.maximum(seen.volatility * 100, 1e-4)),
    # Log of the mean |return| of the latest bars over the volatility; 0 if none moved.
    "absolute_5": _absolute(5),
    "absolute_20": _absolute(20),
    "absolute_63": _absolute(63),
}
"""What a fitted forecaster may lean on, by name; each gives one float64 a row.

Source:
    Mean absolute returns over a day, a week, a month: Forsberg and Ghysels, "Why do
    absolute returns predict volatility so well?", Journal of Financial Econometrics 5
    (2007); signed past returns, the leverage effect: Corsi and Renò, "Discrete-time
    volatility forecasting with persistent leverage effect", Journal of Business and
    Economic Statistics 30 (2012).
"""


def feature_values(seen: Observed, names: Sequence[str]) -> Float64Array:
    """Compute features by name, shape (rows, names)."""
    return np.stack([FEATURES[name](seen) for name in names], axis=1)


class Forecaster(BaseModel):
    """A forecaster as its JSON file holds it.

    Attributes:
        horizons_bars: H horizons, bars, rising.
        levels: Q quantile levels, rising.
        bar_s: length of a bar, seconds.
        half_life_s: time in which news loses half its weight, seconds.
        ewma_decay: of the volatility, a bar.
        quantiles: [H][Q] of the standardised return, rising along Q.
        baseline_quantiles: the random walk's, likewise.
        features: names from ``FEATURES``.
        location: [H][features], in units of the volatility to the horizon.
        log_scale: [H][features]; the sum is held within ±3.
        edge: per horizon, whether it beat the random walk in its last evaluation.
        edge_p_value: per horizon, of that test.
        fitted_on: the data, in words.
        fitted_until: last day that was fitted or calibrated on; None if nobody says.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["location_scale"]
    horizons_bars: tuple[Annotated[int, Field(ge=1, le=_MAX_HORIZON_BARS)], ...] = Field(
        min_length=1
    )
    levels: tuple[_Fraction, ...] = Field(min_length=1)
    bar_s: _Seconds
    half_life_s: _Seconds
    ewma_decay: _Fraction
    quantiles: _Quantiles
    baseline_quantiles: _Quantiles
    features: tuple[str, ...] = ()
    location: _Coefficients = ()
    log_scale: _Coefficients = ()
    edge: tuple[bool, ...]
    edge_p_value: tuple[_Probability, ...]
    fitted_on: str
    fitted_until: date | None = None

    @model_validator(mode="after")
    def _shapes_agree(self) -> Self:
        horizons, levels = len(self.horizons_bars), len(self.levels)
        for name in ("horizons_bars", "levels"):
            values = np.array(getattr(self, name), np.float32)  # as the wire tells them
            if (np.diff(values) <= 0).any():
                raise ValueError(f"{name} must rise")
        unknown = set(self.features) - set(FEATURES)
        if unknown:
            raise ValueError(
                f"features {sorted(unknown)} are unknown, expected of {sorted(FEATURES)}"
            )
        for name in ("quantiles", "baseline_quantiles"):
            table = np.array(getattr(self, name))
            if table.shape != (horizons, levels):
                raise ValueError(
                    f"{name} has shape {table.shape}, expected {(horizons, levels)}"
                )
            if (np.diff(table, axis=1) < 0).any():
                raise ValueError(f"{name} must rise along the levels")
        for name in ("location", "log_scale"):
            rows = getattr(self, name)
            expected = [len(self.features)] * horizons if self.features else []
            if [len(row) for row in rows] != expected:
                raise ValueError(
                    f"{name} must be {len(expected)} rows of {len(self.features)}, one "
                    "a feature"
                )
        for name in ("edge", "edge_p_value"):
            if len(getattr(self, name)) != horizons:
                raise ValueError(f"{name} must hold one value per horizon")
        for edge, p_value in zip(self.edge, self.edge_p_value, strict=True):
            if edge and p_value > _EDGE_P_VALUE:
                raise ValueError(f"edge is claimed at a p-value of {p_value}")
        return self

    def forecast(
        self, closes: Float32Array, state: Float32Array, elapsed_s: Float32Array
    ) -> Forecast:
        """Forecast each row.

        Args:
            closes: float32, shape (rows, 64), oldest first, last close known.
            state: float32, shape (rows, 4), as ``SENTIMENT_STATE``.
            elapsed_s: float32, shape (rows, 1), seconds since that state.
        """
        seen = observe(
            closes,
            state,
            elapsed_s,
            ewma_decay=self.ewma_decay,
            half_life_s=self.half_life_s,
        )
        horizons = np.sqrt(np.array(self.horizons_bars, np.float64))
        to_horizon = seen.volatility[:, None, None] * horizons[:, None]  # (rows, H, 1)
        shift, scale = self._lean(seen)
        standard = np.array(self.quantiles) * scale + shift  # (rows, H, Q)
        return Forecast(
            quantiles=(to_horizon * standard).astype(np.float32),
            baseline_quantiles=(to_horizon * np.array(self.baseline_quantiles)).astype(
                np.float32
            ),
            p_up=_probability_above_zero(standard, np.array(self.levels)).astype(
                np.float32
            ),
        )

    def _lean(self, seen: Observed) -> tuple[Float64Array, Float64Array]:
        """Location and scale of each row and horizon, shape (rows, H, 1) each."""
        rows, horizons = len(seen.closes), len(self.horizons_bars)
        if not self.features:
            return np.zeros((rows, horizons, 1)), np.ones((rows, horizons, 1))
        values = feature_values(seen, self.features)
        location = values @ np.array(self.location).T  # (rows, H)
        log_scale = values @ np.array(self.log_scale).T
        scale = np.exp(np.clip(log_scale, -_MAX_LOG_SCALE, _MAX_LOG_SCALE))
        return location[..., None], scale[..., None]


@dataclass(frozen=True)
class Forecast:
    """Forecasts of a batch of rows.

    Attributes:
        quantiles: float32, shape (rows, H, Q), log return, rising along Q.
        baseline_quantiles: the random walk's, likewise.
        p_up: float32, shape (rows, H), P(log return > 0), in [lowest, highest level].
    """

    quantiles: Float32Array
    baseline_quantiles: Float32Array
    p_up: Float32Array


def load_forecaster(path: Path) -> Forecaster:
    """Read a forecaster's JSON file.

    Raises:
        ArtefactError: absent, not JSON, or its numbers do not fit together.
    """
    try:
        return Forecaster.model_validate_json(path.read_bytes())
    except FileNotFoundError as error:
        raise ArtefactError(path, "expected a forecaster, found no file") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "the file"
        raise ArtefactError(
            path, f"is not a forecaster: {where}: {first['msg']}"
        ) from error


def _probability_above_zero(quantiles: Float64Array, levels: Float64Array) -> Float64Array:
    """P(return > 0), the distribution taken as linear between its quantiles.

    It is not resolved beyond the outer levels, so it stays within them.
    """
    flat = quantiles.reshape(-1, quantiles.shape[-1])
    below = np.array([np.interp(0.0, row, levels) for row in flat])
    above: Float64Array = 1.0 - below.reshape(quantiles.shape[:-1])
    return above
