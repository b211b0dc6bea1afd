"""The page's part on what is held, and what it may lose."""

from __future__ import annotations

from collections.abc import Sequence
from math import isinf

import pandas as pd
from matplotlib.figure import Figure

from megatick_decisions.backtest import RiskBacktest
from megatick_decisions.holdings import largest_first
from megatick_decisions.losses import LossMeasures
from megatick_decisions.page.words import decimals
from megatick_decisions.risk import PortfolioRisk, SimulatedRisk
from megatick_training.reports import Section


def risk_sections(
    risk: PortfolioRisk,
    values: pd.Series,
    *,
    currency: str,
    assumed: bool,
    without_width: Sequence[str],
) -> list[Section]:
    """Holdings, and risk.

    Args:
        risk: of the holdings.
        values: what is held, by symbol.
        currency: of it; empty where no file names one.
        assumed: whether nothing was said of what is held.
        without_width: holdings whose forecasts have none.
    """
    at = risk.scenarios_at
    money = currency or "one currency, which no file names"
    digits = decimals(risk.gross_value)
    given = (
        "No holdings were given: the same value of each symbol is taken.  "
        if assumed
        else ""
    )
    uncounted = (
        f"\n\nNo risk is counted of {', '.join(without_width)}: all the closes that a "
        "forecast reads are the same, which leaves it no width.  What such a holding may "
        "lose once its price moves again is in none of these figures but, perhaps, "
        "history's."
        if without_width
        else ""
    )
    return [
        Section(
            "Portfolio",
            text=f"{given}Gross {risk.gross_value:,.{digits}f}, "
            f"net {risk.net_value:+,.{digits}f}, in {money}.  Adds: what a holding adds to "
            "the portfolio's expected shortfall (97.5 %); they sum to it, and one "
            "below 0 is a hedge.  "
            f"Alone: its own, were it all that is held.{uncounted}",
            table=holdings_table(risk, values),
        ),
        Section(
            "Risk",
            text=f"Losses in {money}: value at risk (VaR) that 5 and 1 % of the outcomes "
            "exceed, expected shortfall (ES), the mean of the worst 5 and 2.5 %.\n\n"
            f"The outcomes are {len(at)} scenarios, one a close of all holdings from "
            f"{at[0]:%Y-%m-%d} to {at[-1]:%Y-%m-%d}: where the next return of each fell "
            "among the quantiles of its forecast of then, all of them together, taken to "
            "the quantiles of now (filtered historical simulation).  The misses of one bar "
            "stand for those of longer horizons too.\n\n"
            "Expected: the mean of the outcomes, to which the drift of those bars adds; it "
            "forecasts no direction.  Interval: the 95 % confidence interval of VaR 99, "
            "since so few scenarios leave it open.  History: what these holdings would "
            "have earned over past windows, which overlap.",
            table=risk_table(risk),
        ),
    ]


def backtest_section(backtest: RiskBacktest) -> Section:
    """How often losses were larger than the value at risk that was forecast."""
    bars = backtest.bars
    return Section(
        "Backtest",
        text=f"The value at risk of the same holdings at one bar, forecast at {len(bars)} "
        f"closes from {bars.index[0]:%Y-%m-%d} to {bars.index[-1]:%Y-%m-%d} from what was "
        "known then, and the profit or loss that followed.  A small p of Kupiec's says "
        "that losses above it are more or fewer than expected, one of Christoffersen's "
        "that they come in runs.",
        table=backtest_table(backtest),
        figure=_backtest_figure(bars),
    )


def backtest_table(backtest: RiskBacktest) -> pd.DataFrame:
    """One row a level."""
    return pd.DataFrame(
        [
            {
                "VaR": f"{each.level:.0%}",
                "bars": each.bars,
                "losses above it": each.observed,
                "expected": round(each.expected, 1),
                "Kupiec's p": each.coverage.p_value,
                "Christoffersen's p": each.independence.p_value,
            }
            for each in (backtest.var_95, backtest.var_99)
        ]
    )


def _backtest_figure(bars: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(8, 2.6), layout="constrained")
    axis = figure.subplots()
    axis.bar(range(len(bars)), bars["profit"], color="0.6", width=1.0, label="what came")
    for name, label in (("var_95", "VaR 95"), ("var_99", "VaR 99")):
        axis.plot(range(len(bars)), -bars[name], linewidth=1, label=label)
    places = [0, len(bars) // 2, len(bars) - 1]
    axis.set_xticks(places, [f"{bars.index[place]:%Y-%m-%d}" for place in places])
    axis.set_ylabel("profit")
    axis.legend(frameon=False, fontsize=8, ncols=3)
    return figure


def holdings_table(risk: PortfolioRisk, values: pd.Series) -> pd.DataFrame:
    """One row a holding, the largest first."""
    held, digits = largest_first(values), decimals(risk.gross_value)

    def money(each: pd.Series[float]) -> list[float]:
        return [round(value, digits or None) for value in each[held.index]]

    table = pd.DataFrame(
        {
            "symbol": held.index,
            "value": money(held),
            "of gross, %": (100 * held.abs() / risk.gross_value).round(1).to_numpy(),
        }
    )
    for each in risk.horizons:
        bars = each.horizon_bars
        added, alone = each.forecast.components, each.forecast.stand_alone
        table[f"adds, {bars}"] = money(added)
        table[f"alone, {bars}"] = money(alone)
    return table


def risk_table(risk: PortfolioRisk) -> pd.DataFrame:
    """One row a horizon and source."""
    rows, digits = [], decimals(risk.gross_value)
    for each in risk.horizons:
        sources: list[tuple[str, LossMeasures, str]] = [
            (name, by.measures, _var_99_interval(by, digits=digits))
            for name, by in (
                ("the forecasts", each.forecast),
                ("the random walk", each.baseline),
            )
        ]
        if each.historical is not None:
            windows = f"history, {each.historical.windows} windows"
            sources.append((windows, each.historical.measures, "–"))
        for name, losses, interval in sources:
            rows.append(
                {
                    "bars": each.horizon_bars,
                    "by": name,
                    "expected": round(losses.mean, digits or None),
                    "VaR 95": round(losses.var_95, digits or None),
                    "VaR 99": round(losses.var_99, digits or None),
                    "interval": interval,
                    "ES 95": round(losses.es_95, digits or None),
                    "ES 97.5": round(losses.es_975, digits or None),
                }
            )
    return pd.DataFrame(rows)


def _var_99_interval(simulated: SimulatedRisk, *, digits: int) -> str:
    low, high = (f"{end:,.{digits}f}" for end in simulated.var_99_interval)
    if isinf(simulated.var_99_interval[1]):
        return f"≥{low}"
    return f"{low}\N{EN DASH}{high}"
