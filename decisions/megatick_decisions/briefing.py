"""One brief: what a server, and statistics, make of what is known."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import pandas as pd

from megatick_client import Client
from megatick_decisions.asking import Outlook, forecast_latest, half_life_of
from megatick_decisions.known import Known
from megatick_decisions.mood import Mood, mood_at
from megatick_training.forecasting.news import news_of

MOOD_BARS: Final = 250
"""So many bars of the mood are drawn: about a year of daily ones."""


@dataclass(frozen=True, eq=False)
class Brief:
    """What it means.

    Attributes:
        outlook: each symbol's forecasts.
        mood: at the last ``MOOD_BARS`` closes, and as of now.
    """

    outlook: Outlook
    mood: Mood


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
    moments = before.append(pd.DatetimeIndex([known.as_of]))
    return Brief(
        outlook=outlook,
        mood=mood_at(news, pd.DatetimeIndex(moments), half_life_s=half_life_s),
    )
