"""Every forecast that could have been asked for, and what then happened."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import HORIZONS_BARS, WINDOW_BARS
from megatick_training.forecasting.news import News, Story, states_at
from megatick_training.times import naive

BoolArray = npt.NDArray[np.bool_]
Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

_NEVER: Final = np.datetime64("NaT", "ns")


@dataclass(frozen=True)
class Windows:
    """One row a symbol and bar with 64 closes behind it.

    Attributes:
        closes: float32, shape (rows, 64), as ``PRICES``, none missing.
        state: float32, shape (rows, 4), as ``SENTIMENT_STATE``.
        elapsed_s: float32, shape (rows, 1), seconds from that state to the bar's close.
        returns: float64, shape (rows, H), log return to each horizon, NaN where the table
            ends before it.
        symbols: shape (rows,), the symbol's name.
        at: datetime64[ns], shape (rows,), UTC, the close that the forecast is made at.
        until: datetime64[ns], shape (rows, H), the close of each horizon, NaT past the end.
    """

    closes: Float32Array
    state: Float32Array
    elapsed_s: Float32Array
    returns: Float64Array
    symbols: npt.NDArray[np.str_]
    at: Times
    until: Times

    def __len__(self) -> int:
        return len(self.at)

    def take(self, rows: BoolArray) -> Windows:
        """Pick rows."""
        return Windows(
            **{each.name: getattr(self, each.name)[rows] for each in fields(self)}
        )


def dates_of(bars: int, *, at: Times, until: Times) -> int:
    """Count the dates that so many bars take; a date is one on which forecasts are made.

    One a bar where all symbols close together, two where half of them close at another
    hour of the day, and fewer where not every bar has a forecast.

    Args:
        bars: how many.
        at: shape (rows,), when each forecast was made.
        until: shape (rows, H), when its horizons ended, NaT where they had not.
    """
    dates, ended = np.unique(at), ~np.isnat(until)
    away = np.abs(np.array(HORIZONS_BARS) - bars)
    nearest = int(np.where(ended.any(axis=0), away, np.inf).argmin())
    rows = ended[:, nearest]
    first, last = (np.searchsorted(dates, each[rows]) for each in (at, until[:, nearest]))
    return math.ceil(bars * float(np.median(last - first)) / HORIZONS_BARS[nearest])


def make_windows(closes: pd.DataFrame, *, news: News | None, half_life_s: float) -> Windows:
    """Cut each symbol's history into windows.

    A bar of a symbol is a row at which it has a close: exchanges with different holidays
    may stand in one table.

    Args:
        closes: as ``read_closes`` gives them.
        news: what was published about the symbols; None leaves the state at zeros.
        half_life_s: of the sentiment state, seconds.

    Returns:
        Rows by symbol, then by time; none where every symbol is shorter than 65 bars.
    """
    told = news or News({})
    parts = [
        _windows_of(closes[symbol].dropna(), str(symbol), told.of(str(symbol)), half_life_s)
        for symbol in closes.columns
    ]
    return Windows(
        **{
            each.name: np.concatenate([getattr(part, each.name) for part in parts])
            for each in fields(Windows)
        }
    )


def _windows_of(
    closes: pd.Series, symbol: str, story: Story, half_life_s: float
) -> Windows:
    values = closes.to_numpy(np.float64)
    times = naive(pd.DatetimeIndex(closes.index))
    last = np.arange(WINDOW_BARS - 1, len(values) - 1)  # a bar must follow
    seen = np.empty((0, WINDOW_BARS))
    if len(last):
        seen = np.lib.stride_tricks.sliding_window_view(values, WINDOW_BARS)[:-1]
    ends = last[:, None] + np.array(HORIZONS_BARS)  # (rows, H)
    inside = ends < len(values)
    clipped = np.minimum(ends, len(values) - 1)
    at = times[last]
    state, elapsed_s = states_at(story, at, half_life_s=half_life_s)
    return Windows(
        closes=seen.astype(np.float32),
        state=state,
        elapsed_s=elapsed_s,
        returns=np.where(inside, np.log(values[clipped] / values[last, None]), np.nan),
        symbols=np.full(len(last), symbol),
        at=at,
        until=np.where(inside, times[clipped], _NEVER),
    )
