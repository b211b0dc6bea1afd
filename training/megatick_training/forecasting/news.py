"""Scored news, and the sentiment state that it leaves at each bar.

The state is what a client of the server would hold: every text is added by the code that
serves (``decay``, then ``add_score``), in the order in which it was published.  A bar's
state holds what had been published before the bar's close: what appears in the very
second of a decision was not read in it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_server.sentiment import add_score, decay
from megatick_training.headlines import Headlines, read_headlines
from megatick_training.times import naive

Float32Array = npt.NDArray[np.float32]
Times = npt.NDArray[np.datetime64]

_SECOND = np.timedelta64(1, "s")


@dataclass(frozen=True)
class Story:
    """One symbol's scored texts.

    Attributes:
        at: datetime64[ns], shape (texts,), UTC, when each was published, rising.
        scores: float32, shape (texts,), in [-1, 1].
    """

    at: Times
    scores: Float32Array


_NOTHING = Story(np.empty(0, "datetime64[ns]"), np.empty(0, np.float32))


@dataclass(frozen=True)
class News:
    """Scored texts of many symbols.

    Attributes:
        stories: by symbol.
    """

    stories: Mapping[str, Story]

    def of(self, symbol: str) -> Story:
        """One symbol's texts, or none."""
        return self.stories.get(symbol, _NOTHING)

    def about(self, symbols: Iterable[str]) -> int:
        """How many texts are about one of these symbols, each once."""
        return sum(len(self.of(symbol).at) for symbol in symbols)

    @property
    def texts(self) -> int:
        """How many there are."""
        return sum(len(story.at) for story in self.stories.values())


def read_news(path: Path) -> News:
    """Read scored texts, as ``read_headlines`` reads them.

    The scores are those that ``megatick batch`` gives.

    Raises:
        DataError: as ``read_headlines``, or a score is missing.
    """
    return news_of(read_headlines(path, scored=True))


def news_of(headlines: Headlines) -> News:
    """Sort scored texts by symbol, each symbol's in the order of publication."""
    return News(
        {
            str(symbol): Story(
                at=naive(pd.DatetimeIndex(rows["published_at"])),
                scores=rows["score"].to_numpy(np.float32),
            )
            for symbol, rows in headlines.rows.groupby("symbol", sort=True)
        }
    )


def states_at(
    story: Story, bars: Times, *, half_life_s: float
) -> tuple[Float32Array, Float32Array]:
    """Give the sentiment state as of each bar's close.

    Args:
        story: a symbol's scored texts.
        bars: datetime64[ns], shape (bars,), UTC, each bar's close.
        half_life_s: seconds, > 0.

    Returns:
        The state after the last text that was published before the close,
        float32, shape (bars, 4), zeros where there was none; and the seconds since that
        text, float32, shape (bars, 1).
    """
    after = np.zeros((len(story.at) + 1, 1, 4), np.float32)  # after so many texts
    since = np.diff(story.at, prepend=story.at[:1]) / _SECOND
    for text, elapsed_s in enumerate(since.astype(np.float32)):
        aged = decay(after[text], elapsed_s.reshape(1, 1), half_life_s=half_life_s)
        after[text + 1] = add_score(aged, story.scores[text].reshape(1, 1))
    texts = np.searchsorted(story.at, bars, side="left")
    last = story.at[np.maximum(texts - 1, 0)] if len(story.at) else bars
    elapsed = np.where(texts > 0, (bars - last) / _SECOND, 0.0)
    return after[texts, 0], elapsed.astype(np.float32)[:, None]
