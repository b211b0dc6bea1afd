"""Where a price may go: a distribution for each horizon, beside the random walk's."""

from __future__ import annotations

from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from megatick_client.errors import BadRequest
from megatick_client.price_windows import PriceRows
from megatick_client.replies import NOT_SENT, ReplyInfo
from megatick_client.requests import Array, Reply, Request
from megatick_client.rows import Partial, Rows
from megatick_contract import PRICE_FORECAST, Tensor
from megatick_contract.prices import (
    BAR_S,
    BASELINE_QUANTILES,
    EDGE,
    EDGE_P_VALUE,
    ELAPSED_S,
    HALF_LIFE_S,
    HORIZONS,
    LEVELS_OUT,
    P_UP,
    PRICES,
    QUANTILES,
    SENTIMENT_STATE,
)

if TYPE_CHECKING:
    import pandas as pd

FORECAST_OUTPUTS: Final[tuple[Tensor, ...]] = (
    QUANTILES,
    BASELINE_QUANTILES,
    P_UP,
    HORIZONS,
    LEVELS_OUT,
    BAR_S,
    HALF_LIFE_S,
    EDGE,
    EDGE_P_VALUE,
)


@dataclass(frozen=True)
class Interval:
    """A central interval of the price at one horizon.

    Attributes:
        horizon_bars: bars after the last close.
        coverage: probability that the price is inside, in (0, 1).
        low_price: in the unit of the prices that were sent.
        high_price: likewise.
    """

    horizon_bars: int
    coverage: float
    low_price: float
    high_price: float


@dataclass(frozen=True, eq=False)
class Forecast:
    """The forecast for one symbol; H horizons, Q levels.

    Attributes:
        symbol: its name, where the caller gave one.
        last_price: the last close that was sent.
        horizons_bars: H horizons, in bars after that close.
        levels: Q quantile levels, rising, each in (0, 1).
        quantiles: float32, [H, Q], log return from the last close to each horizon.
        baseline_quantiles: float32, [H, Q], the same of a driftless random walk.
        p_up: float32, [H], P(log return > 0), in [0, 1].
        edge: bool, [H], whether the forecaster beat the random walk when last evaluated;
            where it did not, trust the baseline as much.
        edge_p_value: float32, [H], the p-value of that test, in [0, 1].
        bar_s: how long a bar lasts, in seconds.
        half_life_s: seconds in which news loses half its weight.
        reply: the request that brought it.
    """

    symbol: str | None
    last_price: float
    horizons_bars: tuple[int, ...]
    levels: tuple[float, ...]
    quantiles: Array
    baseline_quantiles: Array
    p_up: Array
    edge: Array
    edge_p_value: Array
    bar_s: float
    half_life_s: float
    reply: ReplyInfo = field(default=NOT_SENT, repr=False)

    def price_quantiles(self, *, baseline: bool = False) -> npt.NDArray[np.float64]:
        """The quantiles as prices: last price x exp(log return).

        Args:
            baseline: the random walk's instead.

        Returns:
            float64, [H, Q], in the unit of the prices that were sent.
        """
        log_returns = self.baseline_quantiles if baseline else self.quantiles
        prices: npt.NDArray[np.float64] = self.last_price * np.exp(
            log_returns.astype(np.float64)
        )
        return prices

    def interval(
        self, horizon_bars: int, coverage: float = 0.8, *, baseline: bool = False
    ) -> Interval:
        """The central price interval that holds ``coverage`` of the forecast.

        Args:
            horizon_bars: one of ``horizons_bars``.
            coverage: in (0, 1); its two ends, (1 - coverage) / 2 and (1 + coverage) / 2,
                must be among ``levels``: nothing is interpolated.
            baseline: the random walk's instead.

        Raises:
            BadRequest: the forecast has no such horizon or level.
        """
        if horizon_bars not in self.horizons_bars:
            raise BadRequest(
                f"horizon_bars: expected one of {self.horizons_bars}, found "
                f"{horizon_bars!r:.40}"
            )
        given: object = coverage  # not all callers check their types
        if not isinstance(given, Real):
            raise BadRequest(f"coverage: expected a number, found {given!r:.40}")
        low, high = self._level((1 - coverage) / 2), self._level((1 + coverage) / 2)
        if low is None or high is None or low >= high:
            coverages = [round(2 * each - 1, 6) for each in self.levels if each > 0.5]
            raise BadRequest(
                f"coverage: expected one of {coverages}, whose two ends are among the "
                f"forecast's levels, found {coverage:g}"
            )
        prices = self.price_quantiles(baseline=baseline)
        row = prices[self.horizons_bars.index(horizon_bars)]
        return Interval(
            horizon_bars, coverage, low_price=float(row[low]), high_price=float(row[high])
        )

    def to_frame(self) -> pd.DataFrame:
        """One row a horizon and level, with the columns of ``Forecasts.to_frame``."""
        return Forecasts((self,)).to_frame()

    def _level(self, level: float) -> int | None:
        distances = np.abs(np.array(self.levels) - level)
        nearest = int(distances.argmin())
        return nearest if distances[nearest] <= 1e-6 else None  # they travel as float32


class Forecasts(Rows[Forecast]):
    """The forecasts for several symbols, in their order."""

    def to_frame(self) -> pd.DataFrame:
        """One row a symbol, horizon and level.

        Returns:
            Columns row (from 0), symbol, horizon_bars, level, log_return, price,
            baseline_log_return, baseline_price.
        """
        import pandas as pd

        parts = [_frame(row, forecast) for row, forecast in enumerate(self.rows)]
        columns: dict[str, Array] = {
            name: np.concatenate([part[name] for part in parts])
            for name in _COLUMNS
            if parts
        }
        return pd.DataFrame(columns, columns=list(_COLUMNS))


class PartialForecasts(Partial[Forecast]):
    """Of several symbols, in their order: the forecast, or why the prices were refused."""

    def to_frame(self) -> pd.DataFrame:
        """One row a symbol, horizon and level, and one for a symbol that was refused.

        Returns:
            The columns of ``Forecasts.to_frame``, missing but for row and symbol where it
            was refused (``horizon_bars`` is Int64, which can be); and problem, which is
            missing for the others.
        """
        frame = self._lines_a_row(Forecasts)
        if self.frame_index is not None:
            frame["symbol"] = [self.frame_index[row] for row in frame["row"]]
        return frame


_COLUMNS: Final = (
    "row",
    "symbol",
    "horizon_bars",
    "level",
    "log_return",
    "price",
    "baseline_log_return",
    "baseline_price",
)


def forecast_request(prices: PriceRows, states: Array, elapsed: Array) -> Request:
    """Ask for the forecasts of price windows."""
    return Request(
        PRICE_FORECAST,
        inputs={PRICES: prices.array, SENTIMENT_STATE: states, ELAPSED_S: elapsed},
        outputs=FORECAST_OUTPUTS,
    )


def read_forecasts(reply: Reply, prices: PriceRows) -> Forecasts:
    """Turn the reply for these price windows into results."""
    for tensor in FORECAST_OUTPUTS:
        reply[tensor].flags.writeable = False
    return Forecasts(
        tuple(
            Forecast(
                symbol,
                last_price,
                horizons_bars=tuple(reply[HORIZONS][row].tolist()),
                levels=tuple(map(_shortest, reply[LEVELS_OUT][row])),
                quantiles=reply[QUANTILES][row],
                baseline_quantiles=reply[BASELINE_QUANTILES][row],
                p_up=reply[P_UP][row],
                edge=reply[EDGE][row],
                edge_p_value=reply[EDGE_P_VALUE][row],
                bar_s=reply[BAR_S][row].item(),
                half_life_s=reply[HALF_LIFE_S][row].item(),
                reply=reply.about[row],
            )
            for row, (symbol, last_price) in enumerate(
                zip(prices.symbols, prices.last_prices.tolist(), strict=True)
            )
        )
    )


def _shortest(level: np.float32) -> float:
    """The shortest decimal that is this float32: 0.05, not 0.05000000074505806."""
    return float(str(level))


def _frame(row: int, forecast: Forecast) -> dict[str, Array]:
    horizons, levels = len(forecast.horizons_bars), len(forecast.levels)
    cells = horizons * levels
    return {
        "row": np.full(cells, row),
        "symbol": np.full(cells, forecast.symbol, dtype=object),
        "horizon_bars": np.repeat(forecast.horizons_bars, levels),
        "level": np.tile(forecast.levels, horizons),
        "log_return": forecast.quantiles.ravel().astype(np.float64),
        "price": forecast.price_quantiles().ravel(),
        "baseline_log_return": forecast.baseline_quantiles.ravel().astype(np.float64),
        "baseline_price": forecast.price_quantiles(baseline=True).ravel(),
    }
