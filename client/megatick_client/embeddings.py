"""Texts as vectors: the hidden state that the model classifies each by."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

import numpy as np
import numpy.typing as npt

from megatick_client.replies import NOT_SENT, ReplyInfo
from megatick_client.requests import Reply, Request
from megatick_client.rows import Partial, Rows
from megatick_client.texts import TextRows, truncation_parameter
from megatick_contract import EMBEDDING_MODEL, Tensor, Truncation
from megatick_contract.text import EMBEDDING, TEXT, TOKENS, TRUNCATED

if TYPE_CHECKING:
    import pandas as pd

_OUTPUTS: Final[tuple[Tensor, ...]] = (EMBEDDING, TOKENS, TRUNCATED)


@dataclass(frozen=True, eq=False)
class Embedding:
    """The vector of one text.

    Attributes:
        text: the text as sent.
        values: float32, shape (hidden,), the pooled token's hidden state after the
            model's final norm; read-only, not normalised.
        tokens: tokens that the model read.
        truncated: the text was longer than the model's window, and part of it unread.
        reply: the request that brought it.
    """

    text: str
    values: npt.NDArray[np.float32]
    tokens: int
    truncated: bool
    reply: ReplyInfo = field(default=NOT_SENT, repr=False)

    def to_frame(self) -> pd.DataFrame:
        """One row, with the columns of ``Embeddings.to_frame``."""
        return Embeddings((self,)).to_frame()


class Embeddings(Rows[Embedding]):
    """The vectors of several texts, in their order."""

    @property
    def values(self) -> npt.NDArray[np.float32]:
        """Float32, shape (rows, hidden), as ``Embedding.values``; (0, 0) of no rows."""
        if not self.rows:
            return np.empty((0, 0), np.float32)
        return np.stack([row.values for row in self.rows])

    @property
    def tokens(self) -> npt.NDArray[np.int64]:
        """Int64, shape (rows,), tokens that the model read."""
        return np.array([row.tokens for row in self.rows], dtype=np.int64)

    @property
    def truncated(self) -> npt.NDArray[np.bool_]:
        """Bool, shape (rows,), whether part of the text was unread."""
        return np.array([row.truncated for row in self.rows], dtype=np.bool_)

    def to_frame(self) -> pd.DataFrame:
        """One row a text, on the index of the Series that was sent, if it was one.

        Returns:
            Columns text, tokens, truncated, and embedding_0 to embedding_{hidden - 1}.
        """
        import pandas as pd

        values = self.values
        about = {
            "text": [row.text for row in self.rows],
            "tokens": self.tokens,
            "truncated": self.truncated,
        }
        names = [f"embedding_{axis}" for axis in range(values.shape[1])]
        return pd.concat(
            [
                pd.DataFrame(about, index=self.frame_index),
                pd.DataFrame(values, index=self.frame_index, columns=names),
            ],
            axis="columns",
        )


class PartialEmbeddings(Partial[Embedding]):
    """Of several texts, in their order: the vector, or why the text was refused."""

    def to_frame(self) -> pd.DataFrame:
        """One row a text, on the index of the Series that was sent, if it was one.

        Returns:
            The columns of ``Embeddings.to_frame``, missing for a text that was refused
            (``tokens`` is Int64 and ``truncated`` boolean, which can be); and problem,
            which is missing for the others.
        """
        return self._line_a_row(Embeddings)


def embedding_request(texts: TextRows, truncation: Truncation) -> Request:
    """Ask for the vectors of texts."""
    return Request(
        EMBEDDING_MODEL,
        inputs={TEXT: texts.array},
        outputs=_OUTPUTS,
        parameters=truncation_parameter(truncation),
    )


def read_embeddings(reply: Reply, texts: TextRows) -> Embeddings:
    """Turn the reply for these texts into results."""
    reply[EMBEDDING].flags.writeable = False
    columns = zip(
        texts.texts,
        reply[EMBEDDING],
        reply[TOKENS][:, 0].tolist(),
        reply[TRUNCATED][:, 0].tolist(),
        reply.about,
        strict=True,
    )
    return Embeddings(tuple(Embedding(*row) for row in columns), texts.frame_index)
