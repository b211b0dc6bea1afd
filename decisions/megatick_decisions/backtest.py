"""The value at risk that forecasts of past bars implied, and the losses that followed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import LEVELS
from megatick_decisions.errors import TooFewCloses
from megatick_decisions.exceedances import Exceedances, judge_exceedances
from megatick_decisions.losses import value_at_risk
from megatick_decisions.residuals import returns_at
from megatick_decisions.risk import check_values, past_of
from megatick_decisions.scenarios import FEWEST_SCENARIOS, SCENARIOS, PastForecasts

Float64Array = npt.NDArray[np.float64]

_FEWEST_BARS: Final = 20
"""Of fewer, a loss that comes once in twenty would say nothing."""
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
    past: PastForecasts,
    *,
    bars: int,
    levels: Sequence[float] = LEVELS,
    scenarios: int = SCENARIOS,
) -> RiskBacktest:
    """Forecast the value at risk of each past bar, and see how it held.

    The same money of each symbol is held at each bar, as if it were brought back to it at
    every close.  A bar's scenarios are the misses of the bars before it, which had ended by
    then, and a symbol's profit is to its own next close.  A bar that is not ``measurable``
    is no scenario, and is judged like any other.  A holding of 0 is left out.

    Args:
        values: money held of each symbol, below 0 if short.
        past: forecasts of one bar of these symbols, and what followed.
        bars: how many to judge, of the latest; where fewer have ``FEWEST_SCENARIOS`` before
            them, those.
        levels: Q levels, rising.
        scenarios: as ``portfolio_risk``.

    Raises:
        HoldingsError: as ``portfolio_risk``.
        ForecastError: as ``portfolio_risk``.
        TooFewCloses: fewer than 20 bars to judge, or as ``measurable``.
    """
    money = check_values(values)
    held = money != 0
    known = past_of(past, list(values.index[held]), levels=levels)
    able = int(np.flatnonzero(known.measurable())[FEWEST_SCENARIOS - 1]) + 1
    first = max(len(known.at) - bars, able)
    judged = len(known.at) - first
    if judged < _FEWEST_BARS:
        raise TooFewCloses(
            "bars gone by to test the risk on",
            f"at least {_FEWEST_BARS} with {FEWEST_SCENARIOS} forecasts before",
            str(judged),
        )
    forecast = [
        [value_at_risk(profits, level=each) for each in _LEVELS.values()]
        for profits in outcomes_at(values, known, first=first, scenarios=scenarios)
    ]
    found = pd.DataFrame(forecast, known.at[first:], list(_LEVELS))
    found.insert(0, "profit", np.expm1(known.returns[first:]) @ money[held])
    return RiskBacktest(
        bars=found,
        **{
            name: judge_exceedances(
                (-found["profit"] > found[name]).to_numpy(), level=level
            )
            for name, level in _LEVELS.items()
        },
    )


def outcomes_at(
    values: pd.Series[float],
    past: PastForecasts,
    *,
    first: int,
    scenarios: int = SCENARIOS,
) -> Iterator[Float64Array]:
    """Simulate what holdings may earn at each of the last bars, from what was known then.

    Args:
        values: as ``backtest_risk``.
        past: forecasts of one bar of these symbols and perhaps others, that are no worse
            than ``past_of`` lets pass.
        first: place among them of the first bar, after a ``measurable`` one at least.
        scenarios: as ``portfolio_risk``.

    Yields:
        float64, shape (outcomes,), profit (above 0) or loss (below 0), money.

    Raises:
        TooFewCloses: as ``measurable``.
    """
    held = values[values != 0]
    known = past.of(list(held.index))
    money, residuals = held.to_numpy(np.float64), known.residuals()
    measurable = known.measurable()
    for bar in range(first, len(known.at)):
        before = residuals[:bar][measurable[:bar]][-scenarios:]
        yield np.expm1(returns_at(before, known.quantiles[bar])) @ money
