"""What the news about a symbol adds up to, which the client keeps and hands back.

The server keeps nothing between calls: ``market_view`` returns the state after its text,
and the next call for that symbol gives it back with the seconds passed since.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from megatick_client.errors import BadRequest
from megatick_client.requests import Array
from megatick_contract.prices import (
    STATE_LAST_SCORE,
    STATE_SCORE_SUM,
    STATE_TEXTS,
    STATE_WEIGHT,
)


@dataclass(frozen=True)
class SentimentState:
    """The decayed news of one symbol; as made without arguments: no news yet.

    Attributes:
        score_sum: sum of the scores, each decayed by its age.
        weight: sum of the decays; 0 means no news.
        last_score: the latest text's score, in [-1, 1].
        texts: texts seen.
    """

    score_sum: float = 0.0
    weight: float = 0.0
    last_score: float = 0.0
    texts: int = 0

    @property
    def mean_score(self) -> float:
        """The decayed mean score, in [-1, 1]; NaN where there is no news."""
        return self.score_sum / self.weight if self.weight else math.nan


def read_states(
    states: SentimentState | Sequence[SentimentState] | None, *, rows: int
) -> Array:
    """Lay states out as SENTIMENT_STATE: float32, [R, 4].

    Args:
        states: one for all rows, one a row, or None for no news.
        rows: R.

    Raises:
        BadRequest: neither one state nor R of them, or they hold no numbers.
    """
    if states is None or isinstance(states, SentimentState):
        states = [states or SentimentState()] * rows
    expected = f"sentiment_state: expected one state, or {rows}"
    try:
        found = list(states)
    except TypeError as error:
        raise BadRequest(f"{expected}, found {states!r:.40}") from error
    if len(found) != rows:
        raise BadRequest(f"{expected}, found {len(found)}")
    array = np.zeros((rows, 4), dtype=np.float32)
    for row, state in enumerate(found):
        if not isinstance(state, SentimentState):
            raise BadRequest(f"{expected}, found {state!r:.40} in row {row}")
        try:
            with np.errstate(over="ignore"):  # beyond float32 is inf, which is refused
                array[row, STATE_SCORE_SUM] = state.score_sum
                array[row, STATE_WEIGHT] = state.weight
                array[row, STATE_LAST_SCORE] = state.last_score
                array[row, STATE_TEXTS] = state.texts
        except (TypeError, ValueError, OverflowError) as error:
            raise BadRequest(
                f"sentiment_state: expected numbers, found {state} in row {row}"
            ) from error
    return array


def states_of(array: Array) -> tuple[SentimentState, ...]:
    """Read NEXT_SENTIMENT_STATE, float32 [R, 4], as states."""
    return tuple(
        SentimentState(
            score_sum=row[STATE_SCORE_SUM],
            weight=row[STATE_WEIGHT],
            last_score=row[STATE_LAST_SCORE],
            texts=round(row[STATE_TEXTS]),
        )
        for row in array.tolist()
    )


def read_elapsed(elapsed_s: float | Sequence[float], *, rows: int) -> Array:
    """Lay seconds out as ELAPSED_S: float32, [R, 1].

    Raises:
        BadRequest: neither one number nor R of them.
    """
    try:
        with np.errstate(over="ignore"):  # beyond float32 is inf, which is refused
            seconds = np.asarray(elapsed_s, dtype=np.float32).reshape(-1, 1)
    except (TypeError, ValueError, OverflowError) as error:
        found = f"{elapsed_s!r:.40}"
        raise BadRequest(f"elapsed_s: expected seconds, found {found}") from error
    if len(seconds) not in (1, rows):
        raise BadRequest(f"elapsed_s: expected one number, or {rows}, found {len(seconds)}")
    return np.repeat(seconds, rows, axis=0) if len(seconds) != rows else seconds
