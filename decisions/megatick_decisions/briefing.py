"""One brief: what a server, and statistics, make of what is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeVar

import pandas as pd

from megatick_client import Client
from megatick_contract import WINDOW_BARS
from megatick_decisions.asking import (
    Outlook,
    forecast_latest,
    forecast_windows,
    half_life_of,
)
from megatick_decisions.backtest import RiskBacktest, backtest_risk
from megatick_decisions.dependence import FEWEST_RETURNS, common_closes
from megatick_decisions.errors import DecisionError, ForecastError, TooFewCloses
from megatick_decisions.impact import EventStudy, event_study
from megatick_decisions.known import Known
from megatick_decisions.mood import Mood, mood_at
from megatick_decisions.risk import PortfolioRisk, portfolio_risk
from megatick_training.forecasting.news import News, news_of
from megatick_training.forecasting.windows import make_windows

MOOD_BARS: Final = 250
"""So many bars of the mood are drawn: about a year of daily ones."""

BAR: Final = 1
"""The horizon at which risk is tested."""

DEGREES_OF_FREEDOM: Final = 5.0
"""Of the Student's t that tails and joint moves follow.  With it losses of 24 stocks, from
2008 to 2015, exceeded the value at risk at 99 % about as often as said; with normal tails
twice as often (docs/brief.md)."""

_FEWEST_BARS: Final = 20
"""Of fewer, a loss that comes once in twenty would say nothing."""

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class Brief:
    """What it means.

    Attributes:
        outlook: each symbol's forecasts.
        mood: at the last ``MOOD_BARS`` closes, and as of now.
        impact: how prices moved after the texts; None where there is no text.
        risk: of what is held; None where it cannot be computed.
        why_no_risk: why not, else empty.
        backtest: of the risk at one bar; None where none was asked for or can be made.
        why_no_backtest: why not, else empty.
    """

    outlook: Outlook
    mood: Mood
    impact: EventStudy | None
    risk: PortfolioRisk | None
    why_no_risk: str
    backtest: RiskBacktest | None
    why_no_backtest: str


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
    risk, why_no_risk = _or_why(lambda: _risk(known, outlook))
    backtest, why_no_backtest = None, "it was not asked for."
    if risk is not None and backtest_bars:
        progress("testing the risk on bars gone by")
        backtest, why_no_backtest = _or_why(
            lambda: _backtest(client, known, news, outlook, bars=backtest_bars)
        )
    return Brief(
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


def _risk(known: Known, outlook: Outlook) -> PortfolioRisk:
    rows = [outlook.symbols.index(symbol) for symbol in known.values.index]
    return portfolio_risk(
        known.values,
        known.closes,
        quantiles=outlook.quantiles[rows],
        baseline_quantiles=outlook.baseline_quantiles[rows],
        horizons_bars=outlook.horizons_bars,
        levels=outlook.levels,
        degrees_of_freedom=DEGREES_OF_FREEDOM,
    )


def _backtest(
    client: Client, known: Known, news: News, outlook: Outlook, *, bars: int
) -> RiskBacktest:
    """Forecast the holdings' risk at the last bars that another follows.

    Raises:
        TooFewCloses: there are not ``_FEWEST_BARS`` of them with enough before.
        ForecastError: the forecaster has no horizon of one bar.
    """
    if BAR not in outlook.horizons_bars:
        raise ForecastError(
            "the forecaster's horizons", "one bar", f"{outlook.horizons_bars}"
        )
    held = list(known.values.index)
    enough = common_closes(known.closes, held).index[FEWEST_RETURNS:]
    windows = make_windows(known.closes[held], news=news, half_life_s=outlook.half_life_s)
    moments = pd.DatetimeIndex(windows.at, tz="UTC")
    of_all = moments.value_counts() == len(held)
    at = pd.DatetimeIndex(enough[enough.isin(of_all.index[of_all])][-bars:])
    if len(at) < _FEWEST_BARS:
        raise TooFewCloses(
            "bars gone by to test the risk on",
            f"at least {_FEWEST_BARS} with {WINDOW_BARS} closes of every held symbol",
            str(len(at)),
        )
    windows = windows.take(moments.isin(at))  # by symbol as held, then by time
    quantiles = forecast_windows(client, windows)[:, outlook.horizons_bars.index(BAR)]
    by_bar = quantiles.reshape(len(held), len(at), -1).swapaxes(0, 1)
    return backtest_risk(
        known.values,
        known.closes,
        at=at,
        quantiles=by_bar,
        levels=outlook.levels,
        degrees_of_freedom=DEGREES_OF_FREEDOM,
    )
