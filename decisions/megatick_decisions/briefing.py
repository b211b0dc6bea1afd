"""One brief: what a server, and statistics, make of what is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import pandas as pd

from megatick_client import Client
from megatick_decisions.asking import (
    Outlook,
    forecast_latest,
    forecast_past,
    half_life_of,
)
from megatick_decisions.backtest import RiskBacktest, backtest_risk
from megatick_decisions.errors import DecisionError
from megatick_decisions.impact import EventStudy, event_study
from megatick_decisions.known import Known
from megatick_decisions.mood import Mood, mood_at
from megatick_decisions.one_model import OneModel
from megatick_decisions.risk import PortfolioRisk, portfolio_risk
from megatick_decisions.scenarios import SCENARIOS, PastForecasts, forecast_bars
from megatick_training.forecasting.news import News, news_of

MOOD_BARS: Final = 250
"""So many bars of the mood are drawn: about a year of daily ones."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Brief:
    """What it means.

    Attributes:
        model_digest: SHA-256 of what served every answer, in hex.
        outlook: each symbol's forecasts.
        mood: at the last ``MOOD_BARS`` closes, and as of now.
        impact: how prices moved after the texts; None where there is no text.
        risk: of what is held; None where it cannot be computed.
        why_no_risk: why not, else empty.
        backtest: of the risk at one bar; None where none was asked for or can be made.
        why_no_backtest: why not, else empty.
    """

    model_digest: str
    outlook: Outlook
    mood: Mood
    impact: EventStudy | None
    risk: PortfolioRisk | None
    why_no_risk: str
    backtest: RiskBacktest | None
    why_no_backtest: str


def make_brief(
    client: Client,
    known: Known,
    *,
    backtest_bars: int,
    model: OneModel,
    progress: Callable[[str], None],
) -> Brief:
    """Ask the server, and work out the rest.

    Args:
        client: of a server with ``price_forecast``.
        known: as of now.
        backtest_bars: bars gone by whose risk is forecast too; 0 for none.
        model: that every answer must come from: the one that scored the texts, if any.
        progress: called with a few words as each part begins.

    Raises:
        AnotherModel: an answer is another model's.
        ClientError: the server could not be asked.
    """
    progress("forecasting")
    half_life_s = half_life_of(client, model=model)
    news = news_of(known.headlines)
    outlook = forecast_latest(
        client,
        known.closes,
        news,
        as_of=known.as_of,
        half_life_s=half_life_s,
        model=model,
    )
    before = known.closes.index[known.closes.index < known.as_of][-MOOD_BARS:]
    moments = pd.DatetimeIndex(before.append(pd.DatetimeIndex([known.as_of])))
    progress("studying what followed the news")
    impact = event_study(known.closes, news) if news.texts else None
    progress("forecasting bars gone by")
    past, why_no_risk = _or_why(
        lambda: _past(
            client, known, news, outlook, backtest_bars=backtest_bars, model=model
        )
    )
    risk, backtest, why_no_backtest = None, None, "it was not asked for."
    if past is not None:
        progress("simulating what is held")
        risk, why_no_risk = _or_why(lambda: _risk(known, outlook, past))
    if past is not None and risk is not None and backtest_bars:
        progress("testing the risk on bars gone by")
        backtest, why_no_backtest = _or_why(
            lambda: backtest_risk(
                known.values, past, bars=backtest_bars, levels=outlook.levels
            )
        )
    return Brief(
        model_digest=model.digest,
        outlook=outlook,
        mood=mood_at(news, moments, half_life_s=half_life_s),
        impact=impact,
        risk=risk,
        why_no_risk=why_no_risk,
        backtest=backtest,
        why_no_backtest=why_no_backtest,
    )


def _or_why(make: Callable[[], T]) -> tuple[T | None, str]:
    """Make it, or say why that cannot be."""
    try:
        return make(), ""
    except DecisionError as error:
        return None, str(error)


def _past(
    client: Client,
    known: Known,
    news: News,
    outlook: Outlook,
    *,
    backtest_bars: int,
    model: OneModel,
) -> PastForecasts:
    """Forecast what is held at the bars that scenarios come from, now and in the backtest.

    Raises:
        TooFewCloses: there are not ``FEWEST_SCENARIOS`` of them.
        ForecastError: the forecaster has no horizon of one bar.
        AnotherModel: an answer is another model's.
    """
    held = list(known.values.index)
    return forecast_past(
        client,
        known.closes[held],
        news,
        at=forecast_bars(known.closes, held, most=SCENARIOS + backtest_bars),
        half_life_s=outlook.half_life_s,
        model=model,
    )


def _risk(known: Known, outlook: Outlook, past: PastForecasts) -> PortfolioRisk:
    rows = [outlook.symbols.index(symbol) for symbol in known.values.index]
    return portfolio_risk(
        known.values,
        known.closes,
        past,
        quantiles=outlook.quantiles[rows],
        baseline_quantiles=outlook.baseline_quantiles[rows],
        horizons_bars=outlook.horizons_bars,
        levels=outlook.levels,
    )
