"""Which forecasts may be judged: those made after everything that was fitted on."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pandas as pd

from megatick_contract import WINDOW_BARS
from megatick_server.forecast import Forecaster
from megatick_training.errors import EvaluationError
from megatick_training.evaluation.leakage import refuse_embargoed, refuse_fitted_dates
from megatick_training.forecasting.windows import Windows, dates_of

_DAY = pd.Timedelta(days=1)


def rows_to_judge(
    windows: Windows,
    forecaster: Forecaster,
    *,
    since: datetime | None,
    until: datetime | None,
    embargo_bars: int,
    allow_fitted: bool = False,
) -> Windows:
    """Take the rows that the forecaster has not seen.

    Args:
        windows: all rows.
        forecaster: to be judged.
        since: first day, UTC; by default, the first after the embargo.
        until: last day to forecast on, UTC, inclusive; the last by default.
        embargo_bars: bars to leave out after the last that was fitted on.
        allow_fitted: take what it was fitted on too, and the embargo, if asked for by
            ``since``.

    Raises:
        EvaluationError: no row is left, or nobody says what it was fitted on.
        LeakageError: ``since`` asks for rows that it was fitted on, or of the embargo.
    """
    if not len(windows):
        raise EvaluationError(
            "closes to judge forecasts on",
            f"a symbol with more than {WINDOW_BARS}: those that a forecast reads, and what "
            "followed",
            "none",
            "Give a longer history.",
        )
    dates = pd.DatetimeIndex(np.unique(windows.at))
    fitted_until = forecaster.fitted_until
    if fitted_until is not None:
        unseen = dates[dates >= pd.Timestamp(fitted_until) + _DAY]
        embargo = dates_of(embargo_bars, at=windows.at, until=windows.until)
        earliest = unseen[embargo] if len(unseen) > embargo else dates[-1] + _DAY
    if since is not None:
        first = pd.Timestamp(since)
    elif fitted_until is not None:
        first = earliest
    else:
        raise EvaluationError(
            "the first day to judge",
            "a forecaster that says until when it was fitted",
            f"only {forecaster.fitted_on!r}",
            "Give --since, a day after all that.",
        )
    if fitted_until is not None and not allow_fitted:
        refuse_fitted_dates(first, pd.Timestamp(fitted_until))
        if len(unseen) < len(dates):  # else nobody knows how many bars lie between
            refuse_embargoed(dates[dates >= first], earliest, embargo_bars=embargo_bars)
    last = (
        dates[-1] if until is None else pd.Timestamp(until) + _DAY - pd.Timedelta(1, "ns")
    )
    inside = (windows.at >= first.to_datetime64()) & (windows.at <= last.to_datetime64())
    if not inside.any():
        raise EvaluationError(
            "forecasts to judge",
            f"some from {first:%Y-%m-%d} to {last:%Y-%m-%d}",
            f"bars from {dates[0]:%Y-%m-%d} to {dates[-1]:%Y-%m-%d}",
        )
    return windows.take(inside)


def describe(windows: Windows, forecaster: Forecaster, *, allow_fitted: bool) -> str:
    """Say what is judged, and what it was fitted on."""
    symbols = len(np.unique(windows.symbols))
    still = (windows.closes == windows.closes[:, :1]).all(axis=1)
    names = ", ".join(np.unique(windows.symbols[still]))
    flat = (
        f"  {still.sum():,} of them, of {names}, are of prices that had not moved in "
        f"{WINDOW_BARS} closes: they have no width, and no coverage counts them."
        if still.any()
        else ""
    )
    first, last = pd.Timestamp(windows.at.min()), pd.Timestamp(windows.at.max())
    seen = (
        "  SOME OF THESE DATES WERE FITTED ON: this is no judgement of what is to come."
        if allow_fitted
        and forecaster.fitted_until is not None
        and first < pd.Timestamp(forecaster.fitted_until) + _DAY
        else ""
    )
    return (
        f"{len(windows):,} forecasts for {symbols} symbols, made from {first:%Y-%m-%d} to "
        f"{last:%Y-%m-%d}.{flat}  Fitted on {forecaster.fitted_on}.{seen}"
    )
