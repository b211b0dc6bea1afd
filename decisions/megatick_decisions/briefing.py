"""One brief: what a server, and statistics, make of what is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pandas as pd

from megatick_client import Client
from megatick_decisions.asking import Outlook, forecast_latest, half_life_of
from megatick_decisions.errors import DecisionError
from megatick_decisions.impact import EventStudy, event_study
from megatick_decisions.known import Known
from megatick_decisions.mood import Mood, mood_at
from megatick_decisions.risk import PortfolioRisk, portfolio_risk
from megatick_training.forecasting.news import news_of

MOOD_BARS: Final = 250
"""So many bars of the mood are drawn: about a year of daily ones."""


@dataclass(frozen=True, eq=False)
class Brief:
    """What it means.

    Attributes:
        outlook: each symbol's forecasts.
        mood: at the last ``MOOD_BARS`` closes, and as of now.
        impact: how prices moved after the texts; None where there is no text.
        risk: of what is held; None where it cannot be computed.
        why_no_risk: why not, else empty.
    """

    outlook: Outlook
    mood: Mood
    impact: EventStudy | None
    risk: PortfolioRisk | None
    why_no_risk: str


def make_brief(
    client: Client, known: Known, *, backtest_bars: int, progress: Callable[[str], None]
) -> Brief:
    """Ask the server, and work out the rest.

    Args:
        client: of a server with ``price_forecast``.
        known: as of now.
        backtest_bars: bars gone by whose risk is forecast too; 0 for none.
        progress: called with a few words as each part begins.

    Raises:
        ClientError: the server could not be asked.
    """
    progress("forecasting")
    half_life_s = half_life_of(client)
    news = news_of(known.headlines)
    outlook = forecast_latest(
        client, known.closes, news, as_of=known.as_of, half_life_s=half_life_s
    )
    before = known.closes.index[known.closes.index < known.as_of][-MOOD_BARS:]
    moments = pd.DatetimeIndex(before.append(pd.DatetimeIndex([known.as_of])))
    progress("studying what followed the news")
    impact = event_study(known.closes, news) if news.texts else None
    progress("simulating what is held")
    risk, why_no_risk = _risk(known, outlook)
    return Brief(
        outlook=outlook,
        mood=mood_at(news, moments, half_life_s=half_life_s),
        impact=impact,
        risk=risk,
        why_no_risk=why_no_risk,
    )


def _risk(known: Known, outlook: Outlook) -> tuple[PortfolioRisk | None, str]:
    """Simulate the holdings, or say why that cannot be."""
    rows = [outlook.symbols.index(symbol) for symbol in known.values.index]
    try:
        risk = portfolio_risk(
            known.values,
            known.closes,
            quantiles=outlook.quantiles[rows],
            baseline_quantiles=outlook.baseline_quantiles[rows],
            horizons_bars=outlook.horizons_bars,
            levels=outlook.levels,
        )
    except DecisionError as error:
        return None, str(error)
    return risk, ""
