"""How long bars last, and whether a forecaster is one for such bars."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from megatick_training.times import naive

_UNLIKE: Final = 1.5
"""Times as long, or as short.  Days with and without weekends are alike."""


def bar_length_s(closes: pd.DataFrame) -> float:
    """Give the median time from a symbol's close to its next, seconds; NaN without any.

    >>> days = pd.date_range("2026-11-02T21:00", periods=3, tz="UTC")
    >>> other = days - pd.Timedelta(hours=15)  # of an exchange with other hours
    >>> both = {"A": pd.Series(1.0, days), "B": pd.Series(1.0, other)}
    >>> bar_length_s(pd.DataFrame(both)) / 3600
    24.0
    """
    times = [naive(pd.DatetimeIndex(closes[s].dropna().index)) for s in closes.columns]
    gaps = np.concatenate([np.diff(each) for each in times]) / np.timedelta64(1, "s")
    return float(np.median(gaps)) if len(gaps) else math.nan


def unlike_bars(closes: pd.DataFrame, *, bar_s: float) -> str:
    """Say that bars are of another length than a forecaster's; empty where they are not.

    Args:
        closes: as ``read_closes`` gives them.
        bar_s: seconds that a bar of the forecaster lasts.
    """
    found_s = bar_length_s(closes)
    if math.isnan(found_s) or 1 / _UNLIKE < found_s / bar_s < _UNLIKE:
        return ""
    return (
        f"The forecaster is one of bars of {bar_s:,.0f} s, and these last "
        f"{found_s:,.0f} s: its widths and its edge were found on others.  Fit one for "
        "such bars."
    )
