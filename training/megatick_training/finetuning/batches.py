"""Batches of texts for training: shuffled anew each epoch, packed, never padded."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from megatick_contract.packing import packed_feed, plan_batches

Rows = Sequence[npt.NDArray[np.int32]]
IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class PackedRows:
    """Some rows as the packed network takes them.

    Attributes:
        rows: their indices, shape (B,).
        feed: ``input_ids``, ``row_lengths`` and ``max_seqlen``, each int32.
    """

    rows: IntArray
    feed: dict[str, Tensor]

    @classmethod
    def of(cls, rows: Rows, chosen: IntArray, device: torch.device) -> PackedRows:
        """Pack the chosen rows."""
        arrays: dict[str, Any] = packed_feed([rows[index] for index in chosen])
        feed = {name: torch.from_numpy(array) for name, array in arrays.items()}
        return cls(chosen, {name: tensor.to(device) for name, tensor in feed.items()})


def steps_an_epoch(rows: int, *, batch_rows: int) -> int:
    """How many steps see every row once."""
    return -(-rows // batch_rows)


def batch_of(rows: int, *, step: int, batch_rows: int, seed: int) -> IntArray:
    """Choose the rows of a step: those of an epoch are a permutation of all.

    It depends on its arguments alone, so that training that was cut off goes on as if it
    had not been.

    >>> two = [batch_of(3, step=step, batch_rows=2, seed=0) for step in (0, 1)]
    >>> sorted(int(row) for rows in two for row in rows)
    [0, 1, 2]
    """
    epoch, place = divmod(step, steps_an_epoch(rows, batch_rows=batch_rows))
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    return order[place * batch_rows : (place + 1) * batch_rows]


def packed_parts(
    rows: Rows, chosen: IntArray, *, max_batch_tokens: int, device: torch.device
) -> Iterator[PackedRows]:
    """Cut chosen rows into packed parts of at most so many tokens, by length."""
    lengths = [len(rows[index]) for index in chosen]
    for part in plan_batches(lengths, max_batch_tokens=max_batch_tokens):
        yield PackedRows.of(rows, chosen[part], device)
