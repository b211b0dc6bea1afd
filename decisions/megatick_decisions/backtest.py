"""The value at risk that forecasts of past bars implied, and the losses that followed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import LEVELS
from megatick_decisions.dependence import (
    antithetic_scores,
    common_closes,
    correlated,
    correlation,
)
from megatick_decisions.errors import ForecastError
from megatick_decisions.exceedances import Exceedances, judge_exceedances
from megatick_decisions.losses import value_at_risk
from megatick_decisions.marginals import check_quantiles, returns_at
from megatick_decisions.risk import check_values

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

DRAWS: Final = 10_000
_LEVELS: Final = {"var_95": 0.95, "var_99": 0.99}


@dataclass(frozen=True)
class RiskBacktest:
    """How values at risk at one bar held.

    Attributes:
        bars: indexed by the close that each forecast was made at; ``profit`` that followed
            (below 0 a loss), and ``var_95`` and ``var_99`` forecast before it, money.
        var_95: the losses above ``var_95``.
        var_99: likewise.
    """

    bars: pd.DataFrame
    var_95: Exceedances
    var_99: Exceedances


def backtest_risk(
    values: pd.Series[float],
    closes: pd.DataFrame,
    *,
    at: pd.DatetimeIndex,
    quantiles: Float64Array | Float32Array,
    levels: Sequence[float] = LEVELS,
    degrees_of_freedom: float = math.inf,
    draws: int = DRAWS,
    seed: int = 0,
) -> RiskBacktest:
    """Forecast the value at risk of each past bar, and see how it held.

    The same money of each symbol is held at each bar, as if it were brought back to it at
    every close.  A bar's correlation is taken from closes up to the one that it is forecast
    at, and a symbol's profit is from there to its own next close.  All bars are simulated
    from the same draws.  A holding of 0 is left out.

    Args:
        values: money held of each symbol, below 0 if short.
        closes: as ``read_closes`` gives them.
        at: UTC, rising, the close that each bar is forecast at; every held symbol has one
            then, and one later.
        quantiles: shape (bars, symbols, Q), of the log return to each symbol's next bar as
            forecast at that close, symbols in the order of ``values``.
        levels: Q levels, rising.
        degrees_of_freedom: as ``portfolio_risk``.
        draws: of each bar, even.
        seed: of the draws.

    Raises:
        HoldingsError: as ``portfolio_risk``.
        ForecastError: as ``portfolio_risk``; times that do not rise; a bar at which a held
            symbol has no close, or after which it has none.
        TooFewCloses: fewer than 61 rows at which all held symbols have a close before the
            first bar's end, or fewer than two bars.
    """
    money = check_values(values)
    check_quantiles(
        "the forecast", quantiles, axes=(list(at), list(values.index)), levels=levels
    )
    held = money != 0
    names, money = list(values.index[held]), money[held]
    profit = np.expm1(_next_returns(closes, names, at=at)) @ money
    scores = antithetic_scores(
        draws, len(names), seed=seed, degrees_of_freedom=degrees_of_freedom
    )
    forecast = np.empty((len(at), len(_LEVELS)))
    for bar, moment in enumerate(at):
        known = correlation(closes[closes.index <= moment], names)
        returns = returns_at(
            correlated(scores, known.matrix),
            quantiles[bar, held],
            levels=levels,
            degrees_of_freedom=degrees_of_freedom,
        )
        profits = np.expm1(returns) @ money
        for column, level in enumerate(_LEVELS.values()):
            forecast[bar, column] = value_at_risk(profits, level=level)
    bars = pd.DataFrame(forecast, at, list(_LEVELS))
    bars.insert(0, "profit", profit)
    return RiskBacktest(
        bars=bars,
        **{
            name: judge_exceedances((-bars["profit"] > bars[name]).to_numpy(), level=level)
            for name, level in _LEVELS.items()
        },
    )


def _next_returns(
    closes: pd.DataFrame, symbols: Sequence[str], *, at: pd.DatetimeIndex
) -> Float64Array:
    """Log return from each time to each symbol's own next close, (bars, symbols)."""
    common_times = common_closes(closes, symbols).index
    strange = at[~at.isin(common_times)]
    if len(strange):
        raise ForecastError(
            "bars to forecast", "closes of every held symbol", f"not all at {strange[0]}"
        )
    if not (at.is_monotonic_increasing and at.is_unique):
        raise ForecastError("bars to forecast", "times that rise", "others")
    logs = {symbol: np.log(closes[symbol].dropna()) for symbol in symbols}
    following = {symbol: each.diff().shift(-1).reindex(at) for symbol, each in logs.items()}
    for symbol, each in following.items():
        if each.isna().any():
            raise ForecastError(
                "bars to forecast",
                "a later close of every held symbol",
                f"none of {symbol} after {at[each.isna()][0]}",
            )
    return np.stack([each.to_numpy() for each in following.values()], axis=1)
