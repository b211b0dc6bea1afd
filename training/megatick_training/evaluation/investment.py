"""What a simple rule would have earned on a forecaster's P(up), after costs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from arch.bootstrap import StationaryBootstrap

Float64Array = npt.NDArray[np.float64]
Short = Literal["flat", "short"]

CONFIDENCE: Final = 0.95
_RESAMPLES: Final = 1000
_BLOCK_BARS: Final = 20
"""Mean length of a resampled block: about a month of daily bars."""
_YEAR_S: Final = 365.25 * 86_400


@dataclass(frozen=True)
class Performance:
    """What a series of returns came to.

    Attributes:
        annual_return: geometric, a year; 0.1 is 10 %.
        annual_return_interval: 95 %, by bootstrap.
        sharpe: mean over standard deviation of the returns, a year, without a riskless
            rate; NaN where the returns never vary.
        sharpe_interval: 95 %, by bootstrap; NaN likewise.
        max_drawdown: largest fall of wealth from an earlier peak, in [0, 1].
        turnover: what is bought and sold a year, in multiples of the wealth.
    """

    annual_return: float
    annual_return_interval: tuple[float, float]
    sharpe: float
    sharpe_interval: tuple[float, float]
    max_drawdown: float
    turnover: float


@dataclass(frozen=True)
class Rule:
    """When to hold a symbol.

    Attributes:
        threshold: long where P(up) exceeds one half by more than this, in [0, 0.5).
        below: what to be where it falls short of one half by more than this.
        cost_bps: of what is bought or sold, 1/10,000 of its value.
    """

    threshold: float = 0.0
    below: Short = "flat"
    cost_bps: float = 10.0

    def positions(self, p_up: pd.DataFrame) -> pd.DataFrame:
        """Share of each symbol to hold after each close: 1, 0 or -1; NaN stays NaN.

        Args:
            p_up: indexed by close, a column a symbol, in [0, 1].
        """
        lean = p_up - 0.5
        held = (lean > self.threshold).astype(float)
        if self.below == "short":
            held -= (lean < -self.threshold).astype(float)
        return held.where(p_up.notna())


def hold_all(p_up: pd.DataFrame) -> pd.DataFrame:
    """Hold every symbol that has a forecast, always."""
    return p_up.notna().astype(float).where(p_up.notna())


def invest(
    positions: pd.DataFrame, next_returns: pd.DataFrame, *, cost_bps: float
) -> tuple[pd.Series[float], pd.Series[float]]:
    """Earn what the positions earned, wealth spread evenly over the symbols of a bar.

    A position that is taken at a close earns the return from that close to the next, so
    what was known in time is all it rests on.  A change of position is paid for when made.

    Args:
        positions: shares held after each close, NaN where a symbol is not there.
        next_returns: simple returns from each close to the next, of the same shape.
        cost_bps: of what is traded.

    Returns:
        By close: the portfolio's simple return to the next close; and what was traded, in
        multiples of the wealth.
    """
    there = positions.notna() & next_returns.notna()
    weights = positions.where(there, 0.0).div(there.sum(axis=1).clip(lower=1), axis=0)
    traded = weights.diff().fillna(weights.iloc[:1]).abs().sum(axis=1)
    earned = (weights * next_returns.fillna(0.0)).sum(axis=1)
    return earned - traded * cost_bps * 1e-4, traded


def performance(
    returns: pd.Series[float], traded: pd.Series[float], *, seed: int = 0
) -> Performance:
    """Sum up a portfolio, with intervals by the stationary bootstrap.

    Args:
        returns: simple, one a bar, indexed by time.
        traded: in multiples of the wealth, one a bar.
        seed: of the bootstrap.

    Source:
        Politis and Romano, "The stationary bootstrap", JASA 89 (1994); percentiles.
        Sharpe, "Mutual fund performance", Journal of Business 39 (1966).
    """
    values = returns.to_numpy(np.float64)
    bars_a_year = _bars_a_year(returns.index)

    def measures(sample: Float64Array) -> Float64Array:
        growth = np.log1p(sample).mean() * bars_a_year
        deviation = sample.std()
        sharpe = sample.mean() / deviation * bars_a_year**0.5 if deviation else np.nan
        return np.array([np.expm1(growth), sharpe])

    annual, sharpe = measures(values)
    drawn = StationaryBootstrap(_BLOCK_BARS, values, seed=seed).apply(
        measures, reps=_RESAMPLES
    )
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.quantile(drawn, tails, axis=0)
    wealth = np.concatenate([[1.0], np.cumprod(1 + values)])
    return Performance(
        annual_return=float(annual),
        annual_return_interval=(float(low[0]), float(high[0])),
        sharpe=float(sharpe),
        sharpe_interval=(float(low[1]), float(high[1])),
        max_drawdown=float((1 - wealth / np.maximum.accumulate(wealth)).max()),
        turnover=float(traded.mean() * bars_a_year),
    )


def _bars_a_year(times: pd.Index) -> float:
    """How many bars there were a year, by the median number in a span of the data."""
    span_s = (times[-1] - times[0]) / pd.Timedelta(seconds=1)
    return float((len(times) - 1) * _YEAR_S / span_s)
