"""The risk of what a desk holds, by filtered historical simulation of the served forecasts.

A scenario is one bar gone by: by how much the return of every symbol held missed its
forecast of then, all together, at the width and place of today's forecast.  So symbols fall
together in it as they did, and as far beyond their quantiles.  What that leaves out is said
once, here: nothing is worse than the worst of the bars taken, at today's width, and the
misses of one bar stand for those of every horizon.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import HORIZONS_BARS, LEVELS
from megatick_decisions.errors import ForecastError, HoldingsError
from megatick_decisions.losses import (
    LossMeasures,
    expected_shortfall,
    measure,
    tail_weights,
    value_at_risk_interval,
)
from megatick_decisions.residuals import check_quantiles, returns_at
from megatick_decisions.scenarios import (
    FEWEST_SCENARIOS,
    SCENARIOS,
    PastForecasts,
    common_closes,
)

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

WINDOWS: Final = 500
"""Past windows of the historical simulation: about two years of days."""
_COMPONENTS_LEVEL: Final = 0.975


@dataclass(frozen=True)
class SimulatedRisk:
    """The profit and loss that one set of forecasts implies at one horizon.

    Attributes:
        measures: of the portfolio, money.  To the mean the drift of the bars that the
            scenarios come from adds, in proportion to the forecast's width.
        var_95_interval: 95 % confidence interval of its ``var_95``, were the scenarios
            independent, money; an end for which they are too few is infinite.
        var_99_interval: likewise of ``var_99``.
        components: what each holding adds to ``es_975``: its mean loss in the worst 2.5 %
            of the portfolio's outcomes, money, by symbol.  They add up to it; one below 0
            is a hedge.
        stand_alone: each holding's own ``es_975``, were it all that is held, by symbol.
        diversification: ``es_975`` over the sum of ``stand_alone``, at most 1; NaN where
            that sum is not above 0.

    Source:
        Components: Tasche, "Risk contributions and performance measurement" (1999), the
        derivative of the expected shortfall along the holding, times the holding.
    """

    measures: LossMeasures
    var_95_interval: tuple[float, float]
    var_99_interval: tuple[float, float]
    components: pd.Series[float]
    stand_alone: pd.Series[float]
    diversification: float


@dataclass(frozen=True)
class HistoricalRisk:
    """What today's holdings would have earned over each of the latest windows.

    Attributes:
        measures: of the portfolio, money.
        windows: how many there are.  They overlap, so that windows of h bars hold about
            1/h as many that tell different things.
    """

    measures: LossMeasures
    windows: int


@dataclass(frozen=True)
class HorizonRisk:
    """Risk at one horizon.

    Attributes:
        horizon_bars: of each symbol.
        forecast: by the served forecasts.
        baseline: by the driftless random walk's quantiles.
        historical: by the past alone; None where there are fewer than 100 windows.
    """

    horizon_bars: int
    forecast: SimulatedRisk
    baseline: SimulatedRisk
    historical: HistoricalRisk | None


@dataclass(frozen=True)
class PortfolioRisk:
    """The risk of holdings.

    Attributes:
        gross_value: sum of the holdings' sizes, long or short, money, above 0.
        net_value: sum of the holdings, money.
        horizons: one a horizon.
        scenarios_at: UTC, rising, the closes gone by whose misses are the scenarios.
    """

    gross_value: float
    net_value: float
    horizons: tuple[HorizonRisk, ...]
    scenarios_at: pd.DatetimeIndex


def portfolio_risk(
    values: pd.Series[float],
    closes: pd.DataFrame,
    past: PastForecasts,
    *,
    quantiles: Float64Array | Float32Array,
    baseline_quantiles: Float64Array | Float32Array,
    horizons_bars: Sequence[int] = HORIZONS_BARS,
    levels: Sequence[float] = LEVELS,
    scenarios: int = SCENARIOS,
) -> PortfolioRisk:
    """Simulate the profit and loss of holdings at each horizon.

    A holding of v whose log return is r earns v·(eʳ - 1).  Forecast and baseline are
    simulated from the same bars gone by, each by its own misses.  A holding of 0 is left
    out.

    Args:
        values: money held of each symbol, below 0 if short.
        closes: as ``read_closes`` gives them, up to the bar of the forecasts.
        past: forecasts of one bar of these symbols, up to that bar; those that are not
            ``measurable`` are no scenarios.
        quantiles: shape (symbols, H, Q), of the log return, in the order of ``values``.
        baseline_quantiles: the random walk's, likewise.
        horizons_bars: H horizons.
        levels: Q levels, rising.
        scenarios: bars gone by to take, of the latest; where there are fewer, all.

    Raises:
        HoldingsError: nothing is held, a value is not finite, a symbol stands twice, or has
            no closes.
        ForecastError: quantiles of another shape, not finite, or crossing; past forecasts
            that lack a symbol.
        TooFewCloses: as ``measurable``.
    """
    symbols = list(values.index)
    money = check_values(values)
    axes = (symbols, [f"horizon_bars {bars}" for bars in horizons_bars])
    check_quantiles("the forecast", quantiles, axes=axes, levels=levels)
    check_quantiles("the baseline", baseline_quantiles, axes=axes, levels=levels)
    held = money != 0
    names, money = list(values.index[held]), money[held]
    common = common_closes(closes, names)
    missed = past_of(past, names, levels=levels)
    measurable = missed.measurable()
    index = pd.Index(names, name="symbol")

    def simulated(
        residuals: Float64Array, of: Float64Array | Float32Array, horizon: int
    ) -> SimulatedRisk:
        returns = returns_at(residuals[measurable][-scenarios:], of[held, horizon])
        return _risk(pd.DataFrame(money * np.expm1(returns), columns=index))

    by_forecast, by_baseline = missed.residuals(), missed.residuals(baseline=True)
    return PortfolioRisk(
        gross_value=float(np.abs(money).sum()),
        net_value=float(money.sum()),
        horizons=tuple(
            HorizonRisk(
                horizon_bars=bars,
                forecast=simulated(by_forecast, quantiles, horizon),
                baseline=simulated(by_baseline, baseline_quantiles, horizon),
                historical=_historical(money, common, bars=bars),
            )
            for horizon, bars in enumerate(horizons_bars)
        ),
        scenarios_at=missed.at[measurable][-scenarios:],
    )


def past_of(
    past: PastForecasts, symbols: Sequence[str], *, levels: Sequence[float]
) -> PastForecasts:
    """Pick what is held of past forecasts, or refuse them.

    Raises:
        ForecastError: a symbol is not among them, or quantiles are no distribution.
    """
    absent = [symbol for symbol in symbols if symbol not in past.symbols]
    if absent:
        raise ForecastError("past forecasts", "every held symbol", f"none of {absent[0]}")
    found = past.of(symbols)
    axes = (list(found.at), found.symbols)
    check_quantiles("the past forecast", found.quantiles, axes=axes, levels=levels)
    check_quantiles("the past baseline", found.baseline_quantiles, axes=axes, levels=levels)
    return found


def check_values(values: pd.Series[float]) -> Float64Array:
    """Give holdings as an array, or refuse them.

    Args:
        values: money held of each symbol, below 0 if short.

    Raises:
        HoldingsError: nothing is held, a value is not finite, or a symbol stands twice.
    """
    money = values.to_numpy(np.float64)
    twice = values.index[values.index.duplicated()]
    if len(twice):
        raise HoldingsError(
            "holdings", "each symbol once", f"{twice[0]} twice", "Add its values up."
        )
    unknown = values.index[~np.isfinite(money)]
    if len(unknown):
        raise HoldingsError(
            f"the value of {unknown[0]}", "a sum of money", str(values[unknown[0]])
        )
    if not money.any():
        raise HoldingsError("holdings", "a value that is not 0", "none")
    return money


def _risk(profits: pd.DataFrame) -> SimulatedRisk:
    """Measure simulated profits, a row a scenario, a column a symbol."""
    total = profits.to_numpy().sum(axis=1)
    measures = measure(total)
    weights = tail_weights(total, level=_COMPONENTS_LEVEL)
    alone = profits.apply(
        lambda each: expected_shortfall(each.to_numpy(), level=_COMPONENTS_LEVEL)
    )
    added = float(alone.sum())
    return SimulatedRisk(
        measures=measures,
        var_95_interval=value_at_risk_interval(total, level=0.95),
        var_99_interval=value_at_risk_interval(total, level=0.99),
        components=pd.Series(-(weights @ profits.to_numpy()), profits.columns),
        stand_alone=alone,
        diversification=measures.es_975 / added if added > 0 else float("nan"),
    )


def _historical(
    money: Float64Array, common: pd.DataFrame, *, bars: int
) -> HistoricalRisk | None:
    logs = np.log(common.to_numpy(np.float64))[-(WINDOWS + bars) :]
    returns = logs[bars:] - logs[:-bars]
    if len(returns) < FEWEST_SCENARIOS:
        return None
    return HistoricalRisk(measure(np.expm1(returns) @ money), len(returns))
