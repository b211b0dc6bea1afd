"""Joint scenarios: by how much all symbols missed their forecasts at bars gone by."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import WINDOW_BARS
from megatick_decisions.errors import HoldingsError, TooFewCloses, listed
from megatick_decisions.residuals import standardised

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]

SCENARIOS: Final = 500
"""Bars gone by that scenarios are taken from: about two years of days.  Chosen of 250, 500,
750 and 1,000 on 24 stocks from 2008 to 2015 (docs/brief.md)."""
FEWEST_SCENARIOS: Final = 100
"""Of fewer, the worst 1 % would be less than one."""
_LARGEST_RESIDUAL: Final = 100.0
"""About 37 standard deviations of a normal distribution; among 224,729 of 112 stocks from
1990 to 2015 the largest was 74."""


@dataclass(frozen=True, eq=False)
class PastForecasts:
    """Forecasts of one bar at closes gone by, and what followed.

    Attributes:
        symbols: n names.
        at: UTC, shape (bars,), rising, the closes that the forecasts were made at.
        quantiles: float64, shape (bars, n, Q), of the log return to each symbol's next
            close.
        baseline_quantiles: the same of a driftless random walk.
        returns: float64, shape (bars, n), that log return as it came.
    """

    symbols: tuple[str, ...]
    at: pd.DatetimeIndex
    quantiles: Float64Array
    baseline_quantiles: Float64Array
    returns: Float64Array

    def of(self, symbols: Sequence[str]) -> PastForecasts:
        """Pick symbols, in this order."""
        columns = [self.symbols.index(symbol) for symbol in symbols]
        return PastForecasts(
            symbols=tuple(symbols),
            at=self.at,
            quantiles=self.quantiles[:, columns],
            baseline_quantiles=self.baseline_quantiles[:, columns],
            returns=self.returns[:, columns],
        )

    def residuals(self, *, baseline: bool = False) -> Float64Array:
        """Standardise each return by its forecast, or by the random walk's.

        A row is what befell all symbols at once: applied to forecasts of another bar, it is
        a scenario of them that keeps how symbols move together, in calm and in falls alike,
        and how far beyond their quantiles.

        Returns:
            float64, shape (bars, n); within ±100 where ``measurable``.

        Source:
            Filtered historical simulation: Barone-Adesi, Giannopoulos and Vosper, "VaR
            without correlations for portfolios of derivative securities", Journal of
            Futures Markets 19 (1999).  The filter is the forecaster instead of a GARCH.
        """
        quantiles = self.baseline_quantiles if baseline else self.quantiles
        return standardised(self.returns, quantiles)

    def measurable(self) -> BoolArray:
        """Tell which bars can be scenarios: at the others a close moved that stood still.

        A close that had not changed for as long as a forecast looks back leaves a forecast
        without width, or next to none, and so no measure of the move after it: a residual
        beyond ±100 is taken for such a move.  The loss was real, so a backtest judges those
        bars too.

        Returns:
            bool, shape (bars,).

        Raises:
            TooFewCloses: fewer than ``FEWEST_SCENARIOS`` bars are left.
        """
        sizes = np.abs([self.residuals(), self.residuals(baseline=True)])
        kept = (sizes <= _LARGEST_RESIDUAL).all(axis=0)
        bars = kept.all(axis=1)
        if bars.sum() < FEWEST_SCENARIOS:
            worst = self.symbols[int(kept.sum(axis=0).argmin())]
            raise TooFewCloses(
                "bars at which no held symbol moved after it had long stood still",
                f"at least {FEWEST_SCENARIOS}",
                f"{bars.sum()} (most are lost to {worst})",
                "Give a longer history, or leave that symbol out.",
            )
        measured: BoolArray = bars
        return measured


def forecast_bars(
    closes: pd.DataFrame, symbols: Sequence[str], *, most: int
) -> pd.DatetimeIndex:
    """Find the latest closes at which all symbols could be forecast and that others follow.

    Args:
        closes: as ``read_closes`` gives them.
        symbols: columns of it.
        most: how many closes to give at most.

    Raises:
        HoldingsError: a symbol has no column.
        TooFewCloses: fewer than ``FEWEST_SCENARIOS``.
    """
    there = common_closes(closes, symbols).index
    closed = closes[list(symbols)].notna()
    able = closed.cumsum().loc[there] >= WINDOW_BARS
    followed = closed.cumsum().loc[there] < closed.sum()
    bars = there[(able & followed).all(axis=1)]
    if len(bars) < FEWEST_SCENARIOS:
        raise _too_few(closes, symbols, rows=len(there))
    return pd.DatetimeIndex(bars[-most:])


def common_closes(closes: pd.DataFrame, symbols: Sequence[str]) -> pd.DataFrame:
    """Keep the rows at which every one of the symbols has a close.

    Args:
        closes: as ``read_closes`` gives them.
        symbols: columns of it.

    Raises:
        HoldingsError: a symbol has no column.
    """
    absent = [symbol for symbol in symbols if symbol not in closes.columns]
    if absent:
        raise HoldingsError(
            "holdings",
            "symbols with closes",
            listed(absent),
            "Give closes of them, or leave them out.",
        )
    return closes[list(symbols)].dropna()


def _too_few(closes: pd.DataFrame, symbols: Sequence[str], *, rows: int) -> TooFewCloses:
    """Blame those that are short of closes themselves, else those with the fewest."""
    fewest = WINDOW_BARS + FEWEST_SCENARIOS
    counts = closes[list(symbols)].count().sort_values(kind="stable")
    short = counts[counts < fewest]
    blamed = [
        f"{symbol} has {number}"
        for symbol, number in (counts if short.empty else short).items()
    ]
    return TooFewCloses(
        "closes that all held symbols have at the same times",
        f"at least {fewest}",
        f"{rows} ({listed(blamed)})",
        "Give a longer history, or leave those symbols out.",
    )
