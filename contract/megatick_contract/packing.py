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
            and _padding_is_bounded(len(batches[-1]) + 1, length, tokens + length)
        )
        if fits:
            batches[-1].append(row)
            tokens += length
        else:
            batches.append([row])
            tokens = length
    return [np.array(batch, dtype=np.intp) for batch in batches]


def choose_batch(row_lengths: Sequence[int], *, max_batch_tokens: int) -> list[int]:
    """Choose the rows that run with the oldest, as near to the budget as they come.

    An engine prepares itself anew for a run of another length, and does more a second in
    a full one; of a few dozen headlines, nearly every run can be filled exactly.

    Attention's padding is bounded as in ``plan_batches``.  Where a run would hold too many
    short rows for its longest one, that one is left for a later run; where it is the
    oldest itself, the longest rows that wait run with it.

    Args:
        row_lengths: tokens of each row, each ≥ 1, the oldest row's first.
        max_batch_tokens: most tokens of the run; a longer oldest row runs alone.

    Returns:
        Row indices, ascending; 0 is always among them.

    >>> choose_batch([7, 6, 6, 4], max_batch_tokens=17)
    [0, 1, 3]
    """
    oldest = row_lengths[0]
    longest = max(row_lengths)
    while longest >= oldest:
        rows = [row for row, length in enumerate(row_lengths) if length <= longest]
        filled = _fill([row_lengths[row] for row in rows], max_batch_tokens)
        batch = [rows[index] for index in filled]
        lengths = [row_lengths[row] for row in batch]
        if _padding_is_bounded(len(lengths), max(lengths), sum(lengths)):
            return batch
        longest = max(lengths) - 1
    return _longest_first(row_lengths, max_batch_tokens)


def _padding_is_bounded(rows: int, longest: int, tokens: int) -> bool:
    return rows * longest <= MAX_PADDING_FACTOR * tokens


def _fill(row_lengths: Sequence[int], max_batch_tokens: int) -> list[int]:
    """Choose rows, the first and those with which the budget is filled best.

    Of the choices with the most tokens it is the one whose last row came first, then the
    last but one, and so on.
    """
    first, *others = row_lengths
    if first >= max_batch_tokens:
        return [0]
    within_budget = (1 << max_batch_tokens + 1) - 1
    sums = [1 << first]  # bit n of each: some of the rows up to here have n tokens
    for length in others:
        sums.append((sums[-1] | sums[-1] << length) & within_budget)
    tokens = sums[-1].bit_length() - 1
    chosen = [0]
    for row in range(len(others), 0, -1):
        if not sums[row - 1] >> tokens & 1:
            chosen.append(row)
            tokens -= row_lengths[row]
    return sorted(chosen)


def _longest_first(row_lengths: Sequence[int], max_batch_tokens: int) -> list[int]:
    """Choose the first row, and the longest of those that are no longer and fit."""
    first = row_lengths[0]
    batch, tokens = [0], first
    for row in np.argsort(np.negative(row_lengths), kind="stable").tolist():
        length = row_lengths[row]
        if (
            row
            and length <= first
            and tokens + length <= max_batch_tokens
            and _padding_is_bounded(len(batch) + 1, first, tokens + length)
        ):
            batch.append(row)
            tokens += length
    return sorted(batch)


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
