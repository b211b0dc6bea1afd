"""The page's part on what is held, and what it may lose."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from megatick_decisions.backtest import RiskBacktest
from megatick_decisions.briefing import DEGREES_OF_FREEDOM
from megatick_decisions.losses import LossMeasures
from megatick_decisions.risk import PortfolioRisk
from megatick_training.reports import Section


def risk_sections(
    risk: PortfolioRisk, values: pd.Series, *, assumed: bool
) -> list[Section]:
    """Holdings, and risk.

    Args:
        risk: of the holdings.
        values: what is held, by symbol.
        assumed: whether nothing was said of what is held.
    """
    together = risk.correlation
    given = (
        "No holdings were given: the same value of each symbol is taken.  "
        if assumed
        else ""
    )
    return [
        Section(
            "Portfolio",
            text=f"{given}Gross {risk.gross_value:,.0f}, net {risk.net_value:+,.0f}, in "
            "the currency of the prices.  Adds: what a holding adds to the portfolio's "
            "expected shortfall (97.5 %); they sum to it, and one below 0 is a hedge.  "
            "Alone: its own, were it all that is held.",
            table=holdings_table(risk, values),
        ),
        Section(
            "Risk",
            text="Losses in the currency of the prices: value at risk (VaR) that 5 and 1 % "
            "of the outcomes exceed, expected shortfall (ES), the mean of the worst 5 and "
            f"2.5 %; {risk.draws:,} draws.\n\n"
            "Each symbol's distribution is its forecast's, and beyond the outermost "
            f"quantiles a Student's t with {DEGREES_OF_FREEDOM:g} degrees of freedom; "
            "joint moves follow one too, so that large ones come together, with the "
            f"correlation of the last {together.returns} returns that all holdings have, "
            f"up to {together.last_at:%Y-%m-%d}, shrunk by {together.shrinkage:.2f} "
            "(Ledoit and Wolf).  History is what these holdings would have earned over "
            "past windows, which overlap, up to the same day.",
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
    held = values.loc[values.abs().sort_values(ascending=False, kind="stable").index]
    table = pd.DataFrame(
        {
            "symbol": held.index,
            "value": held.round().astype(int).to_numpy(),
            "of gross, %": (100 * held.abs() / risk.gross_value).round(1).to_numpy(),
        }
    )
    for each in risk.horizons:
        bars = each.horizon_bars
        added, alone = each.forecast.components, each.forecast.stand_alone
        table[f"adds, {bars}"] = added[held.index].round().astype(int).to_numpy()
        table[f"alone, {bars}"] = alone[held.index].round().astype(int).to_numpy()
    return table


def risk_table(risk: PortfolioRisk) -> pd.DataFrame:
    """One row a horizon and source."""
    rows = []
    for each in risk.horizons:
        sources: dict[str, LossMeasures] = {
            "the forecasts": each.forecast.measures,
            "the random walk": each.baseline.measures,
        }
        if each.historical is not None:
            windows = f"history, {each.historical.windows} windows"
            sources[windows] = each.historical.measures
        for name, losses in sources.items():
            rows.append(
                {
                    "bars": each.horizon_bars,
                    "by": name,
                    "expected": round(losses.mean),
                    "VaR 95": round(losses.var_95),
                    "VaR 99": round(losses.var_99),
                    "ES 95": round(losses.es_95),
                    "ES 97.5": round(losses.es_975),
                    "ES 97.5, % of gross": losses.share_of(risk.gross_value).es_975 * 100,
                }
            )
    return pd.DataFrame(rows)
