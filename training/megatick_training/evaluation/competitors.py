"""What a forecaster is compared with, each as quantiles at the same levels.

Every competitor sees the 64 closes that the forecaster sees, and nothing else.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from statsforecast.models import AutoETS

from megatick_contract import HORIZONS_BARS
from megatick_server.forecast import Forecast, Forecaster
from megatick_training.forecasting.windows import Windows

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

RANDOM_WALK: Final = "random walk"
DRIFT: Final = "drift"
PRICE_ONLY: Final = "price only"
AUTO_ETS: Final = "AutoETS"

_ADDITIVE: Final = "AZN"
"""Additive errors, a trend if it helps, no season: the closes are logarithms."""


def random_walk(said: Forecast) -> Float64Array:
    """The driftless random walk beside a forecaster's forecasts, shape (rows, H, Q)."""
    return said.baseline_quantiles.astype(np.float64)


def drift(said: Forecast, windows: Windows) -> Float64Array:
    """The random walk, moved by the window's own mean log return, shape (rows, H, Q).

    Args:
        said: forecasts to the horizons of the contract.
        windows: what was forecast.

    Source:
        The drift method of Hyndman and Athanasopoulos, "Forecasting: principles and
        practice", 3rd ed. 2021, section 5.2, on the logarithm of the price.
    """
    logs = np.log(windows.closes.astype(np.float64))
    mean = (logs[:, -1] - logs[:, 0]) / (logs.shape[1] - 1)
    moved = mean[:, None] * np.array(HORIZONS_BARS)
    quantiles: Float64Array = random_walk(said) + moved[..., None]
    return quantiles


def price_only(forecaster: Forecaster, windows: Windows) -> Float64Array:
    """The forecaster itself as if nothing had been published, shape (rows, H, Q)."""
    said = forecaster.forecast(
        windows.closes, np.zeros_like(windows.state), np.zeros_like(windows.elapsed_s)
    )
    return said.quantiles.astype(np.float64)


def auto_ets(forecaster: Forecaster, windows: Windows) -> Float64Array:
    """Exponential smoothing, chosen anew for each window, shape (rows, H, Q).

    It takes some milliseconds a row, so ask for few.

    Source:
        ``statsforecast.models.AutoETS``, with its normal intervals.
    """
    asked = sorted({_coverage(level) for level in forecaster.levels} - {0.0})
    last = max(forecaster.horizons_bars)
    steps = np.array(forecaster.horizons_bars) - 1
    rows = np.empty((len(windows), len(steps), len(forecaster.levels)))
    for row, closes in enumerate(np.log(windows.closes.astype(np.float64))):
        said = AutoETS(season_length=1, model=_ADDITIVE).forecast(closes, last, level=asked)
        for column, level in enumerate(forecaster.levels):
            rows[row, :, column] = said[_name(level)][steps] - closes[-1]
    return rows


def _name(level: float) -> str:
    """What statsforecast calls a quantile: the mean, or an end of an interval."""
    if not _coverage(level):
        return "mean"
    return f"{'lo' if level < 0.5 else 'hi'}-{_coverage(level)}"


def _coverage(level: float) -> float:
    """In %, of the interval that ends at this level: 90.0 for 0.05 and for 0.95."""
    return round(abs(2 * level - 1) * 100, 6)
