"""The packed graph's inputs and names, and which rows run together.

Whoever runs the graph feeds it alike: batches are cut by tokens, and attention is never
padded by more than half.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

MAX_PADDING_FACTOR = 2
"""Attention alone sees a padded [B, T]; B·T stays at most this many times the tokens."""


def plan_batches(
    row_lengths: Sequence[int], *, max_batch_tokens: int
) -> list[npt.NDArray[np.intp]]:
    """Cut rows into batches for the packed graph.

    Rows are taken shortest first, and of one length in their order, so that a long row
    runs with long ones.  A batch ends where one more row would exceed the token budget, or
    would make attention's padded B·T exceed ``MAX_PADDING_FACTOR`` times the real tokens.

    Args:
        row_lengths: tokens of each row, each ≥ 1.
        max_batch_tokens: most tokens in a batch; a longer row is a batch of its own.

    Returns:
        Row indices of each batch, together each row once.

    >>> [batch.tolist() for batch in plan_batches([2, 9, 3, 8], max_batch_tokens=17)]
    [[0, 2, 3], [1]]
    """
    order = np.argsort(np.asarray(row_lengths), kind="stable")
    batches: list[list[int]] = []
    tokens = 0
    for row in order.tolist():
        length = row_lengths[row]
        fits = (
            bool(batches)
            and tokens + length <= max_batch_tokens
            and (len(batches[-1]) + 1) * length <= MAX_PADDING_FACTOR * (tokens + length)
        )
        if fits:
            batches[-1].append(row)
            tokens += length
        else:
            batches.append([row])
            tokens = length
    return [np.array(batch, dtype=np.intp) for batch in batches]


def packed_feed(rows: Sequence[npt.NDArray[np.int32]]) -> dict[str, npt.NDArray[np.int32]]:
    """Feed of the packed graph for one batch.

    Args:
        rows: int32 tokens of each row, each of shape (tokens,), tokens ≥ 1.

    Returns:
        ``input_ids`` [N], the rows end to end; ``row_lengths`` [B]; ``max_seqlen`` [T],
        zeros whose number is the longest row's length.

    >>> {name: array.tolist() for name, array in packed_feed([np.array([7, 8])]).items()}
    {'input_ids': [7, 8], 'row_lengths': [2], 'max_seqlen': [0, 0]}
    """
    lengths = np.array([len(row) for row in rows], np.int32)
    return {
        "input_ids": np.concatenate(rows),
        "row_lengths": lengths,
        "max_seqlen": np.zeros(lengths.max(), np.int32),
    }


def layer_output(layer: int) -> str:
    """Name of the residual stream after a layer, in the graph."""
    return f"decoder.layers.{layer}"
