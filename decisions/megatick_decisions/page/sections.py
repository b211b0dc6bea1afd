"""The whole page: what matters first, then each part."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from megatick_decisions.briefing import Brief
from megatick_decisions.errors import listed
from megatick_decisions.known import Known
from megatick_decisions.page.impacts import impact_sections
from megatick_decisions.page.moods import mood_section
from megatick_decisions.page.prices import edges, price_section
from megatick_decisions.page.risks import backtest_section, risk_sections
from megatick_decisions.page.words import counted
from megatick_training.reports import Section
from megatick_training.times import are_dates

_STALE_BARS: Final = 5
"""So many rows of closes after a symbol's last, and the page names it."""


def sections(made: Brief, known: Known) -> list[Section]:
    """Give the page's parts, in order.

    Args:
        made: the brief.
        known: what it was made of.
    """
    parts = [
        Section("In short", text="\n\n".join(in_short(made, known))),
        price_section(made.outlook, known.closes, known.values),
        mood_section(made.mood, known.closes, known.headlines),
    ]
    if made.impact is not None:
        parts += impact_sections(made.impact, known.headlines)
    if made.risk is None:
        return [*parts, Section("Risk", text=f"Not computed: {made.why_no_risk}")]
    parts += risk_sections(made.risk, known.values, assumed=known.assumed)
    if made.backtest is None:
        return [*parts, Section("Backtest", text=f"Not made: {made.why_no_backtest}")]
    return [*parts, backtest_section(made.backtest)]


def in_short(made: Brief, known: Known) -> list[str]:
    """Say what matters, a sentence or two a paragraph."""
    said = [
        f"{counted(len(made.outlook.symbols), 'symbol')} and "
        f"{counted(len(known.headlines), 'text')}, as of "
        f"{known.as_of:%Y-%m-%d %H:%M:%S} UTC; the last close is of "
        f"{made.outlook.last_at.max():%Y-%m-%d %H:%M}.{_notices(made, known)}",
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
            f"({100 * each.forecast.measures.es_975 / gross:.1f} %) over "
            f"{each.horizon_bars}"
            for each in made.risk.horizons
        ]
        said.append(
            f"Of a gross {gross:,.0f} the worst 2.5 % of outcomes lose, on average, "
            f"{', '.join(losses)} bars."
        )
    if made.backtest is not None:
        judged = made.backtest.var_95
        said.append(
            f"Of {judged.bars} bars up to {made.backtest.bars.index[-1]:%Y-%m-%d}, "
            f"{judged.observed} lost more than the value at risk (95 %), where "
            f"{judged.expected:.1f} are expected (p = {judged.coverage.p_value:.3f})."
        )
    return said


def _notices(made: Brief, known: Known) -> str:
    """What may be amiss with the closes: symbols without, or that ended, dates alone."""
    said = ""
    if known.without_close:
        said += f"  Left out, without a close by then: {listed(known.without_close)}."
    if known.unpriced:
        texts = counted(sum(known.unpriced.values()), "text")
        said += (
            f"  Left out, {texts} about symbols without a close by then: "
            f"{listed(list(known.unpriced))}."
        )
    moments = pd.DatetimeIndex(known.closes.index)
    later = len(moments) - moments.searchsorted(made.outlook.last_at, side="right")
    ended = [
        s
        for s, bars in zip(made.outlook.symbols, later, strict=True)
        if bars >= _STALE_BARS
    ]
    if ended:
        said += (
            f"  Without a close for {_STALE_BARS} bars or more: "
            f"{listed(ended)}; their forecasts begin there."
        )
    if are_dates(moments):
        said += (
            "  Bars have dates alone, and are taken to close at the midnight that begins "
            "the day: texts of that day count as later, much of what they did is not seen, "
            "and --as-of that day reads its close already.  Give --close-time."
        )
    return said
