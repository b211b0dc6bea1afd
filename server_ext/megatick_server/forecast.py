"""The distribution of the log return to each horizon, beside the random walk's.

A forecaster is a file of plain numbers.  Its one formula is a random walk whose location
and scale may lean on features:

    quantile = volatility · √horizon · (q · exp(features·log_scale) + features·location)

With no features it is the random walk itself.  ``q`` rises along the levels and the
exponential is positive, so quantiles never cross.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
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
        state: float32, shape (rows, 4), the sentiment state, decayed to now.
    """

    closes: Float32Array
    volatility: Float64Array
    state: Float32Array


def _sentiment_mean(seen: Observed) -> Float64Array:
    weight = seen.state[:, STATE_WEIGHT].astype(np.float64)
    total = seen.state[:, STATE_SCORE_SUM].astype(np.float64)
    mean: Float64Array = np.divide(
        total, weight, out=np.zeros_like(total), where=weight > 0
    )
    return mean


def _last_return(seen: Observed) -> Float64Array:
    returns, spans = bar_returns(seen.closes)
    scale = seen.volatility * np.sqrt(spans[:, -1])
    standard: Float64Array = np.divide(
        returns[:, -1], scale, out=np.zeros_like(scale), where=scale > 0
    )
    return standard


FEATURES: Final[dict[str, Callable[[Observed], Float64Array]]] = {
    # Decayed mean score, in [-1, 1]; 0 without news.
    "sentiment_mean": _sentiment_mean,
    # Score of the latest text, in [-1, 1]; 0 without news.
    "sentiment_last": lambda seen: seen.state[:, STATE_LAST_SCORE].astype(np.float64),
    # How much news still weighs: log(1 + decayed weight), ≥ 0.
    "news_weight": lambda seen: np.log1p(seen.state[:, STATE_WEIGHT].astype(np.float64)),
    # How much news there was: log(1 + texts), ≥ 0.
    "news_count": lambda seen: np.log1p(seen.state[:, STATE_TEXTS].astype(np.float64)),
    # The latest return in units of the volatility.
    "last_return": _last_return,
}
"""What a fitted forecaster may lean on, by name; each gives one float64 a row."""


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
        volatility = ewma_volatility(closes, decay=self.ewma_decay)
        horizons = np.sqrt(np.array(self.horizons_bars, np.float64))
        to_horizon = volatility[:, None, None] * horizons[:, None]  # (rows, H, 1)
        aged = decay(state, elapsed_s, half_life_s=self.half_life_s)
        shift, scale = self._lean(Observed(closes, volatility, aged))
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
        values = np.stack([FEATURES[name](seen) for name in self.features], axis=1)
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
