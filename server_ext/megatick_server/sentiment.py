"""Logits to probabilities, a signed score, and a decayed sentiment state."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from megatick_contract.prices import (
    STATE_LAST_SCORE,
    STATE_SCORE_SUM,
    STATE_TEXTS,
    STATE_WEIGHT,
)
from megatick_contract.text import LABELS

Float32Array = npt.NDArray[np.float32]

_NEGATIVE, _POSITIVE = LABELS.index("negative"), LABELS.index("positive")


def class_probabilities(logits: Float32Array) -> Float32Array:
    """Softmax over the class axis.

    Args:
        logits: float32, shape (rows, 3), unnormalised, in class order.

    Returns:
        float32, shape (rows, 3), each row in [0, 1] and summing to 1.
    """
    shifted = logits - logits.max(axis=-1, keepdims=True)  # exp() cannot overflow
    weights = np.exp(shifted)
    probabilities: Float32Array = weights / weights.sum(axis=-1, keepdims=True)
    return probabilities


def polarity(probabilities: Float32Array) -> Float32Array:
    """Signed score of each row: P(positive) - P(negative).

    Args:
        probabilities: float32, shape (rows, 3), in class order.

    Returns:
        float32, shape (rows, 1), in [-1, 1].

    Source:
        Polarity as finBERT defines its sentiment score (Araci 2019, arXiv:1908.10063).

    >>> polarity(np.array([[0.25, 0.0, 0.75]], np.float32)).tolist()
    [[0.5]]
    """
    score: Float32Array = (
        probabilities[:, _POSITIVE, None] - probabilities[:, _NEGATIVE, None]
    )
    return score


def decay(
    state: Float32Array, elapsed_s: Float32Array, *, half_life_s: float
) -> Float32Array:
    """Age a state: the sum and the weight halve every ``half_life_s`` seconds.

    Args:
        state: float32, shape (rows, 4), as ``SENTIMENT_STATE``.
        elapsed_s: float32, shape (rows, 1), seconds, ≥ 0.
        half_life_s: seconds, > 0.

    Returns:
        float32, shape (rows, 4); the last score and the count stay as they are.
    """
    kept = np.exp2(-elapsed_s[:, 0] / half_life_s)
    aged = state.copy()
    aged[:, STATE_SCORE_SUM] *= kept
    aged[:, STATE_WEIGHT] *= kept
    return aged


def add_score(state: Float32Array, score: Float32Array) -> Float32Array:
    """Add one text's score, with weight 1, to a state that is as of now.

    Args:
        state: float32, shape (rows, 4), already decayed.
        score: float32, shape (rows, 1), in [-1, 1].

    Returns:
        float32, shape (rows, 4).
    """
    following = state.copy()
    following[:, STATE_SCORE_SUM] += score[:, 0]
    following[:, STATE_WEIGHT] += 1
    following[:, STATE_LAST_SCORE] = score[:, 0]
    following[:, STATE_TEXTS] += 1
    return following
