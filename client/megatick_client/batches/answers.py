"""What a model says of texts, one row a text, or why it says nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from megatick_client.batches.settings import BatchSettings
from megatick_contract import LABELS


@dataclass(frozen=True)
class Answers:
    """The answers to R texts.

    Attributes:
        probabilities: float32, [R, 3], in the contract's order of classes.
        score: float32, [R], P(positive) - P(negative).
        tokens: int32, [R], that the model read.
        truncated: bool, [R].
        problems: why a text has no answer, by its place; its values mean nothing.
    """

    probabilities: npt.NDArray[np.float32]
    score: npt.NDArray[np.float32]
    tokens: npt.NDArray[np.int32]
    truncated: npt.NDArray[np.bool_]
    problems: dict[int, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.score)

    @classmethod
    def blank(cls, rows: int) -> Answers:
        """Make room for so many."""
        return cls(
            np.zeros((rows, len(LABELS)), np.float32),
            np.zeros(rows, np.float32),
            np.zeros(rows, np.int32),
            np.zeros(rows, np.bool_),
        )

    def put(self, places: Sequence[int], others: Answers) -> None:
        """Write other answers to these places, their problems included."""
        at = np.asarray(places, np.intp)
        self.probabilities[at] = others.probabilities
        self.score[at] = others.score
        self.tokens[at] = others.tokens
        self.truncated[at] = others.truncated
        for place, problem in others.problems.items():
            self.problems[places[place]] = problem

    def columns(self, settings: BatchSettings) -> dict[str, pa.Array]:
        """Turn them into the columns that a batch adds, by their names there."""
        labels = np.asarray(LABELS, object)[self.probabilities.argmax(axis=1)]
        made = (
            pa.array(labels, pa.string()),
            pa.array(self.score),
            *(pa.array(each) for each in self.probabilities.T.copy()),
            pa.array(self.tokens),
            pa.array(self.truncated),
        )
        return dict(zip(settings.results, made, strict=True))
