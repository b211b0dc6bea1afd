"""The risk of what a desk holds, from the served forecasts of its symbols.

Each symbol's distribution is that of its forecast.  How symbols move together is a Gaussian
copula with the correlation of their latest returns of one bar, the same at each horizon.
What that leaves out is said once, here: a Gaussian copula lets no crash be shared more than
its correlation says, and a forecast's tails beyond its outermost quantiles are taken as
normal.  Finite ``degrees_of_freedom`` take Student's t for both instead.  The historical
simulation, which assumes neither, stands beside it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import HORIZONS_BARS, LEVELS
from megatick_decisions.dependence import (
    Correlation,
    antithetic_scores,
    common_closes,
    correlated,
    correlation,
)
from megatick_decisions.errors import HoldingsError
from megatick_decisions.losses import (
    LossMeasures,
    expected_shortfall,
    measure,
    tail_weights,
    value_at_risk_interval,
)
from megatick_decisions.marginals import check_quantiles, returns_at

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

DRAWS: Final = 50_000
WINDOWS: Final = 500
"""Past windows of the historical simulation: about two years of days."""
FEWEST_WINDOWS: Final = 100
"""Of fewer, the worst 1 % would be less than one window."""
_COMPONENTS_LEVEL: Final = 0.975


@dataclass(frozen=True)
class SimulatedRisk:
    """The profit and loss that one set of forecasts implies at one horizon.

    Attributes:
        measures: of the portfolio, money.
        var_95_interval: 95 % interval of its ``var_95`` as the number of draws leaves it,
            money.
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
        gross_value: sum of the holdings' sizes, long or short, money, above 0; what
            ``LossMeasures.share_of`` takes.
        net_value: sum of the holdings, money.
        correlation: of the symbols, in the order of ``SimulatedRisk.components``.
        horizons: one a horizon.
        draws: of the simulation.
    """

    gross_value: float
    net_value: float
    correlation: Correlation
    horizons: tuple[HorizonRisk, ...]
    draws: int


def portfolio_risk(
    values: pd.Series[float],
    closes: pd.DataFrame,
    *,
    quantiles: Float64Array | Float32Array,
    baseline_quantiles: Float64Array | Float32Array,
    horizons_bars: Sequence[int] = HORIZONS_BARS,
    levels: Sequence[float] = LEVELS,
    degrees_of_freedom: float = math.inf,
    draws: int = DRAWS,
    seed: int = 0,
) -> PortfolioRisk:
    """Simulate the profit and loss of holdings at each horizon.

    A holding of v whose log return is r earns v·(eʳ - 1).  Forecast and baseline are
    simulated from the same draws, so that what differs is not chance.  A holding of 0 is
    left out.

    Args:
        values: money held of each symbol, below 0 if short.
        closes: as ``read_closes`` gives them, up to the bar of the forecasts.
        quantiles: shape (symbols, H, Q), of the log return, in the order of ``values``.
        baseline_quantiles: the random walk's, likewise.
        horizons_bars: H horizons.
        levels: Q levels, rising.
        degrees_of_freedom: of the Student's t that tails and joint moves follow, above 2;
            infinite is the normal distribution.  Of a finite number eʳ has no expected
            value, so that the mean, and what is short, rest on the draws' largest rises.
        draws: how many, even; half of them are the other half with the sign changed.
        seed: of the draws.

    Raises:
        HoldingsError: nothing is held, a value is not finite, a symbol stands twice, has no
            closes, or a close that never changed.
        ForecastError: quantiles of another shape, not finite, or crossing.
        TooFewCloses: fewer than 61 rows at which all held symbols have a close.
        DecisionError: an odd number of draws, or too few degrees of freedom.
    """
    symbols = list(values.index)
    money = check_values(values)
    axes = (symbols, [f"horizon_bars {bars}" for bars in horizons_bars])
    check_quantiles("the forecast", quantiles, axes=axes, levels=levels)
    check_quantiles("the baseline", baseline_quantiles, axes=axes, levels=levels)
    held = money != 0
    names, money = (
        [s for s, is_held in zip(symbols, held, strict=True) if is_held],
        money[held],
    )
    together, common = correlation(closes, names), common_closes(closes, names)
    free = antithetic_scores(
        draws, len(names), seed=seed, degrees_of_freedom=degrees_of_freedom
    )
    scores = correlated(free, together.matrix)
    index = pd.Index(names, name="symbol")

    def simulated(of: Float64Array | Float32Array, horizon: int) -> SimulatedRisk:
        returns = returns_at(
            scores, of[held, horizon], levels=levels, degrees_of_freedom=degrees_of_freedom
        )
        return _risk(pd.DataFrame(money * np.expm1(returns), columns=index))

    return PortfolioRisk(
        gross_value=float(np.abs(money).sum()),
        net_value=float(money.sum()),
        correlation=together,
        horizons=tuple(
            HorizonRisk(
                horizon_bars=bars,
                forecast=simulated(quantiles, horizon),
                baseline=simulated(baseline_quantiles, horizon),
                historical=_historical(money, common, bars=bars),
            )
            for horizon, bars in enumerate(horizons_bars)
        ),
        draws=draws,
    )


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
    """Measure simulated profits, a row a draw, a column a symbol."""
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
    if len(returns) < FEWEST_WINDOWS:
        return None
    return HistoricalRisk(measure(np.expm1(returns) @ money), len(returns))
