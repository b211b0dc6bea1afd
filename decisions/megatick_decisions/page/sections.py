"""The whole page: what matters first, then each part."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd

from megatick_decisions.briefing import Brief
from megatick_decisions.errors import listed
from megatick_decisions.jumps import like_splits
from megatick_decisions.known import Known
from megatick_decisions.page.impacts import impact_sections
from megatick_decisions.page.moods import mood_section
from megatick_decisions.page.prices import edges, price_section
from megatick_decisions.page.risks import backtest_section, risk_sections
from megatick_decisions.page.words import counted, decimals
from megatick_decisions.standstill import still_bars
from megatick_training.forecasting.bar_length import unlike_bars
from megatick_training.reports import Section
from megatick_training.times import are_dates

_STALE_BARS: Final = 5
"""So many rows of closes after a symbol's last, or bars at one price, and it is named."""


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
    parts += risk_sections(
        made.risk,
        known.values,
        currency=known.currency,
        assumed=known.assumed,
        without_width=[s for s in made.outlook.without_width if s in known.values],
    )
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
        f"{edges(made.outlook)}.  Every answer is of the model {made.model_digest:.12}.",
    ]
    now = made.mood.market.iloc[-1]
    if np.isfinite(now["mood"]):
        said.append(f"Market mood {now['mood']:+.2f}, breadth {now['breadth']:+.2f}.")
    if made.risk is not None:
        gross = made.risk.gross_value
        currency = f" {known.currency}" if known.currency else ""
        digits = decimals(gross)
        losses = [
            f"{each.forecast.measures.es_975:,.{digits}f} "
            f"({100 * each.forecast.measures.es_975 / gross:.1f} %) over "
            f"{each.horizon_bars}"
            for each in made.risk.horizons
        ]
        said.append(
            f"Of a gross {gross:,.{digits}f}{currency} the worst 2.5 % of outcomes lose, "
            f"on average, {', '.join(losses)} bars."
        )
    if made.backtest is not None:
        less, more = made.backtest.var_95, made.backtest.var_99
        said.append(
            f"Of {less.bars} bars, the last begun at the close of "
            f"{made.backtest.bars.index[-1]:%Y-%m-%d}, {less.observed} lost more than the "
            f"value at risk at 95 %, where {less.expected:.1f} are expected "
            f"(p = {less.coverage.p_value:.3f}), and "
            f"{more.observed} more than that at 99 %, where {more.expected:.1f} are "
            f"(p = {more.coverage.p_value:.3f})."
        )
    return said


def _notices(made: Brief, known: Known) -> str:
    """What may be amiss with the closes: few, ended, still, split, of another length."""
    said = ""
    if known.without_closes:
        said += (
            "  Left out, without two closes by then, which a forecast needs: "
            f"{listed(known.without_closes)}."
        )
    if known.unpriced:
        texts = counted(sum(known.unpriced.values()), "text")
        said += (
            f"  Left out, {texts} about symbols without two closes by then: "
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
    flat = made.outlook.without_width
    if flat:
        said += (
            "  Without a move in all the closes that a forecast reads: "
            f"{listed(flat)}; their forecasts have no width, so the risk counts none of "
            "theirs."
        )
    still = still_bars(known.closes).drop(list(flat))
    still = still[still >= _STALE_BARS]
    if len(still):
        named = [f"{symbol} ({bars})" for symbol, bars in still.items()]
        said += (
            f"  At one price for {_STALE_BARS} bars or more: {listed(named)}; their "
            "forecasts, and their risk, shrink with each."
        )
    for notice in (
        like_splits(known.closes),
        unlike_bars(known.closes, bar_s=made.outlook.bar_s),
    ):
        if notice:
            said += f"  {notice}"
    if are_dates(moments):
        said += (
            "  Bars have dates alone, and are taken to close at the midnight that begins "
            "the day: texts of that day count as later, much of what they did is not seen, "
            "and --as-of that day reads its close already.  Give --close-time."
        )
    return said
