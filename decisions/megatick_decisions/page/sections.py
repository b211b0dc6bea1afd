"""The whole page: what matters first, then each part."""

from __future__ import annotations

import numpy as np

from megatick_decisions.briefing import Brief
from megatick_decisions.known import Known
from megatick_decisions.page.impacts import impact_sections
from megatick_decisions.page.moods import mood_section
from megatick_decisions.page.prices import edges, price_section
from megatick_decisions.page.risks import backtest_section, risk_sections
from megatick_training.reports import Section


def sections(made: Brief, known: Known) -> list[Section]:
    """Give the page's parts, in order.

    Args:
        made: the brief.
        known: what it was made of.
    """
    parts = [
        Section("In short", text="\n\n".join(in_short(made, known))),
        price_section(made.outlook, known.closes),
        mood_section(made.mood, known.closes, known.headlines),
    ]
    if made.impact is not None:
        parts += impact_sections(made.impact, known.headlines, known.closes)
    if made.risk is None:
        return [*parts, Section("Risk", text=f"Not computed.  {made.why_no_risk}")]
    parts += risk_sections(made.risk, known.values, made.outlook)
    if made.backtest is None:
        return [*parts, Section("Backtest", text=f"Not made.  {made.why_no_backtest}")]
    return [*parts, backtest_section(made.backtest)]


def in_short(made: Brief, known: Known) -> list[str]:
    """Say what matters, a sentence or two a paragraph."""
    said = [
        f"{len(made.outlook.symbols)} symbols and {len(known.headlines):,} texts, as of "
        f"{known.as_of:%Y-%m-%d %H:%M:%S} UTC.",
        f"Edge over a random walk when the forecaster was last evaluated: "
        f"{edges(made.outlook)}.",
    ]
    now = made.mood.market.iloc[-1]
    if np.isfinite(now["mood"]):
        said.append(f"Market mood {now['mood']:+.2f}, breadth {now['breadth']:+.2f}.")
    if made.risk is not None:
        gross = made.risk.gross_value
        losses = [
            f"{each.forecast.measures.es_975:,.0f} "
            f"({each.forecast.measures.es_975 / gross:.1%}) over {each.horizon_bars}"
            for each in made.risk.horizons
        ]
        said.append(
            f"Of a gross {gross:,.0f} the worst 2.5 % of outcomes lose, on average, "
            f"{', '.join(losses)} bars."
        )
    if made.backtest is not None:
        judged = made.backtest.var_95
        said.append(
            f"Of the last {judged.bars} bars {judged.observed} lost more than the value at "
            f"risk (95 %), where {judged.expected:.1f} are expected "
            f"(p = {judged.coverage.p_value:.3f})."
        )
    return said
