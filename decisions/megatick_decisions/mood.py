"""Market mood: how the news of each symbol reads, and of all together, as time goes on."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy import stats

from megatick_contract.prices import STATE_SCORE_SUM, STATE_TEXTS, STATE_WEIGHT
from megatick_server.sentiment import decay
from megatick_training.forecasting.news import News, states_at
from megatick_training.times import naive

Float64Array = npt.NDArray[np.float64]

CONFIDENCE: Final = 0.95
FEWEST_SYMBOLS: Final = 5
"""With fewer the spread between symbols is too uncertain for an interval."""


@dataclass(frozen=True, eq=False)
class Mood:
    """The mood at some moments.

    A symbol's mood is S / (W + 1), of its sentiment state's decayed sum of scores S and
    decayed weight W: the mean score of its texts, as if one neutral text of this moment
    were always among them.  So it is in [-1, 1], and fades to 0 as its news age.

    The market's mood is the mean over the symbols that have had a text by then, each
    counting once however much is written about it.

    Attributes:
        symbols: float64, indexed by moment, a column a symbol; NaN before its first text.
        market: indexed by moment, with the columns ``mood``; ``low`` and ``high``, the
            Student 95 % interval of that mean over the symbols, NaN with fewer than
            ``FEWEST_SYMBOLS``; ``breadth``, the share of the symbols whose mood is above
            0 less the share of those below; and ``symbols``, how many there are.
    """

    symbols: pd.DataFrame
    market: pd.DataFrame


def mood_at(news: News, moments: pd.DatetimeIndex, *, half_life_s: float) -> Mood:
    """Work the mood out.

    Args:
        news: scored texts; at each moment, those published before it are read.
        moments: in UTC, rising.
        half_life_s: seconds in which news loses half its weight, as the forecaster says.
    """
    at = naive(moments)
    columns: dict[str, Float64Array] = {}
    for symbol, story in news.stories.items():
        state, elapsed_s = states_at(story, at, half_life_s=half_life_s)
        aged = decay(state, elapsed_s, half_life_s=half_life_s).astype(np.float64)
        mood = aged[:, STATE_SCORE_SUM] / (aged[:, STATE_WEIGHT] + 1)
        columns[symbol] = np.where(aged[:, STATE_TEXTS] > 0, mood, np.nan)
    symbols = pd.DataFrame(columns, index=moments, dtype="float64")
    return Mood(symbols, _market(symbols))


def _market(symbols: pd.DataFrame) -> pd.DataFrame:
    count = symbols.notna().sum(axis=1)
    mean = symbols.mean(axis=1)
    enough = count.where(count >= FEWEST_SYMBOLS)
    quantile = stats.t.ppf((1 + CONFIDENCE) / 2, enough - 1)
    either_side = quantile * symbols.std(axis=1) / np.sqrt(enough)
    sides = (symbols > 0).sum(axis=1) - (symbols < 0).sum(axis=1)
    return pd.DataFrame(
        {
            "mood": mean,
            "low": mean - either_side,
            "high": mean + either_side,
            "breadth": sides / count.where(count > 0),
            "symbols": count,
        }
    )
