"""What a text says: its class, its score, and how sure the model is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from megatick_client.replies import NOT_SENT, ReplyInfo
from megatick_client.requests import Reply, Request
from megatick_client.rows import Partial, Rows
from megatick_client.texts import TextRows, truncation_parameter
from megatick_contract import LABELS, SENTIMENT, Label, Tensor, Truncation
from megatick_contract.text import (
    PROBABILITIES,
    SCORE,
    TEXT,
    TOKENS,
    TRUNCATED,
)

if TYPE_CHECKING:
    import pandas as pd

SENTIMENT_OUTPUTS: Final[tuple[Tensor, ...]] = (PROBABILITIES, SCORE, TOKENS, TRUNCATED)


@dataclass(frozen=True)
class Probabilities:
    """The three classes' probabilities, each in [0, 1], together 1."""

    negative: float
    neutral: float
    positive: float


@dataclass(frozen=True)
class Sentiment:
    """The sentiment of one text.

    Attributes:
        text: the text as sent.
        label: the most probable class.
        score: P(positive) - P(negative), in [-1, 1].
        probabilities: of the three classes.
        tokens: tokens that the model read.
        truncated: the text was longer than the model's window, and part of it unread.
        reply: the request that brought it; no part of what makes two results equal.
        parts: what it was combined from, each with the weight of its tokens, where a text
            was split; empty where it was read at once.
    """

    text: str
    label: Label
    score: float
    probabilities: Probabilities
    tokens: int
    truncated: bool
    reply: ReplyInfo = field(default=NOT_SENT, compare=False, repr=False)
    parts: tuple[Sentiment, ...] = ()

    def to_frame(self) -> pd.DataFrame:
        """One row, with the columns of ``Sentiments.to_frame``."""
        return Sentiments((self,)).to_frame()


class Sentiments(Rows[Sentiment]):
    """The sentiments of several texts, in their order."""

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Float64, shape (rows,), each in [-1, 1]."""
        return np.array([row.score for row in self.rows], dtype=np.float64)

    @property
    def probabilities(self) -> npt.NDArray[np.float64]:
        """Float64, shape (rows, 3), in the contract's order of classes."""
        rows = [
            [getattr(row.probabilities, label) for label in LABELS] for row in self.rows
        ]
        return np.array(rows, np.float64).reshape(-1, len(LABELS))

    def to_frame(self) -> pd.DataFrame:
        """One row a text, on the index of the Series that was scored, if it was one.

        Returns:
            Columns text, label, score, negative, neutral, positive, tokens, truncated.
        """
        import pandas as pd

        rows = self.rows
        columns: dict[str, object] = {
            "text": [row.text for row in rows],
            "label": [row.label for row in rows],
            "score": self.scores,
            **dict(zip(LABELS, self.probabilities.T, strict=True)),
            "tokens": np.array([row.tokens for row in rows], dtype=np.int64),
            "truncated": np.array([row.truncated for row in rows], dtype=bool),
        }
        return pd.DataFrame(columns, index=self.frame_index)


class PartialSentiments(Partial[Sentiment]):
    """Of several texts, in their order: the sentiment, or why the text was refused."""

    @property
    def scores(self) -> npt.NDArray[np.float64]:
        """Float64, shape (rows,), each in [-1, 1]; NaN for a text that was refused."""
        scores = [row.score if isinstance(row, Sentiment) else np.nan for row in self.rows]
        return np.array(scores, dtype=np.float64)

    def to_frame(self) -> pd.DataFrame:
        """One row a text, on the index of the Series that was scored, if it was one.

        Returns:
            The columns of ``Sentiments.to_frame``, missing for a text that was refused
            (``tokens`` is Int64 and ``truncated`` boolean, which can be); and problem,
            which is missing for the others.
        """
        return self._line_a_row(Sentiments)


def sentiment_request(texts: TextRows, truncation: Truncation) -> Request:
    """Ask for the sentiment of texts."""
    return Request(
        SENTIMENT,
        inputs={TEXT: texts.array},
        outputs=SENTIMENT_OUTPUTS,
        parameters=truncation_parameter(truncation),
    )


def read_sentiments(reply: Reply, texts: TextRows) -> Sentiments:
    """Turn the reply for these texts into results."""
    columns = zip(
        texts.texts,
        reply[PROBABILITIES].tolist(),
        reply[SCORE][:, 0].tolist(),
        reply[TOKENS][:, 0].tolist(),
        reply[TRUNCATED][:, 0].tolist(),
        reply.about,
        strict=True,
    )
    rows = tuple(
        Sentiment(
            text,
            LABELS[probabilities.index(max(probabilities))],
            score,
            Probabilities(*probabilities),
            tokens,
            truncated,
            about,
        )
        for text, probabilities, score, tokens, truncated, about in columns
    )
    return Sentiments(rows, texts.frame_index)
