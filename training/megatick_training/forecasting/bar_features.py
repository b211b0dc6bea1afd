"""What the other columns of a price file say of the moves to come: range and volume.

They are not on the wire, so no forecaster that is served can lean on them;
``megatick evaluate --ablations`` asks what they would be worth.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import WINDOW_BARS
from megatick_training.errors import EvaluationError
from megatick_training.forecasting.windows import Windows

Float64Array = npt.NDArray[np.float64]

_PRICES: Final = ("open", "high", "low", "close")


@dataclass(frozen=True)
class BarFeature:
    """A feature of a symbol's latest bars.

    Attributes:
        needs: columns of the price file.
        of: from a symbol's bars, oldest first, to its value at each of them.
        in_volatilities: whether that is a volatility, of which the log of the ratio to the
            served one is the feature.
    """

    needs: tuple[str, ...]
    of: Callable[[pd.DataFrame], pd.Series]
    in_volatilities: bool


def _parkinson(bars: pd.DataFrame) -> pd.Series:
    """Variance of a bar by its range."""
    return _log_ratio(bars["high"], bars["low"]) ** 2 / (4 * math.log(2))


def _garman_klass(bars: pd.DataFrame) -> pd.Series:
    """Variance of a bar by its range and its body."""
    reach = _log_ratio(bars["high"], bars["low"]) ** 2
    body = _log_ratio(bars["close"], bars["open"]) ** 2
    return reach / 2 - (2 * math.log(2) - 1) * body


def _log_ratio(above: pd.Series, below: pd.Series) -> pd.Series:
    return pd.Series(np.log(above / below), index=above.index)


def _volatility(
    needs: tuple[str, ...], variance: Callable[[pd.DataFrame], pd.Series], *, bars: int
) -> BarFeature:
    return BarFeature(
        needs, lambda table: variance(table).rolling(bars).mean() ** 0.5, True
    )


def _relative_volume(bars: pd.DataFrame) -> pd.Series:
    """Log of the mean volume of the latest 5 bars over that of the whole window."""
    week, window = (bars["volume"].rolling(n).mean() for n in (5, WINDOW_BARS))
    return _log_ratio(week, window)


BAR_FEATURES: Final[Mapping[str, BarFeature]] = {
    "parkinson_5": _volatility(("high", "low"), _parkinson, bars=5),
    "parkinson_20": _volatility(("high", "low"), _parkinson, bars=20),
    "garman_klass_5": _volatility(_PRICES, _garman_klass, bars=5),
    "garman_klass_20": _volatility(_PRICES, _garman_klass, bars=20),
    "volume_5": BarFeature(("volume",), _relative_volume, False),
}
"""By name.  Range and body are ratios of one bar's prices, so no adjustment moves them;
volume is as traded, and a split within the window shifts it.

Source:
    ln(high/low)² / (4 ln 2): Parkinson, "The extreme value method for estimating the
    variance of the rate of return", Journal of Business 53 (1980).
    ln(high/low)² / 2 − (2 ln 2 − 1) ln(close/open)²: Garman and Klass, "On the estimation
    of security price volatilities from historical data", the same volume, their practical
    estimator.  Neither sees the gap between two bars.
    Volume beside volatility: Lamoureux and Lastrapes, "Heteroskedasticity in stock return
    data: volume versus GARCH effects", Journal of Finance 45 (1990).
"""


def bar_features(
    closes: pd.DataFrame,
    bars: Mapping[str, pd.DataFrame],
    windows: Windows,
    *,
    volatility: Float64Array,
) -> dict[str, Float64Array]:
    """Compute the features that a price file has the columns for.

    Args:
        closes: as ``read_prices`` gives them: a symbol's bars are where it has one.
        bars: its other columns by name, with the index and the symbols of the closes.
        windows: rows; a feature sees the bars up to the close a forecast is made at.
        volatility: float64, shape (rows,), of one bar, > 0.

    Returns:
        By name, float64, shape (rows,); not finite where a bar lacks what is needed, or
        where nothing moved or was traded.

    Raises:
        EvaluationError: a high is below its low.
    """
    found = {
        name: feature
        for name, feature in BAR_FEATURES.items()
        if set(feature.needs) <= bars.keys()
    }
    values = {name: np.full(len(windows), np.nan) for name in found}
    for symbol in np.unique(windows.symbols):
        rows = windows.symbols == symbol
        times = pd.DatetimeIndex(windows.at[rows]).tz_localize("UTC")
        table = _bars_of(symbol, closes, bars)
        with np.errstate(divide="ignore", invalid="ignore"):
            for name, feature in found.items():
                values[name][rows] = feature.of(table).reindex(times).to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):
        return {
            name: np.log(each / volatility) if found[name].in_volatilities else each
            for name, each in values.items()
        }


def _bars_of(
    symbol: str, closes: pd.DataFrame, bars: Mapping[str, pd.DataFrame]
) -> pd.DataFrame:
    """A symbol's bars; a price or a volume that cannot be is taken as missing."""
    index = closes[symbol].dropna().index
    table = pd.DataFrame({name: each[symbol] for name, each in bars.items()}).reindex(index)
    prices = [name for name in _PRICES if name in table]
    table[prices] = table[prices].where(table[prices] > 0)
    if {"high", "low"} <= bars.keys():
        wrong = table["high"] < table["low"]
        if wrong.any():
            at = table.index[wrong][0]
            high, low = table.loc[at, ["high", "low"]]
            raise EvaluationError(
                f"the bar of {symbol} at {at}",
                f"a high of at least its low, {low:g}",
                f"{high:g}",
                "Correct the price file, or leave --ablations out.",
            )
    return table
