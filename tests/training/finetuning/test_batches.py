"""Which rows a step takes."""

from __future__ import annotations

import numpy as np
import torch

from megatick_training.finetuning.batches import batch_of, packed_parts, steps_an_epoch


def epoch(number: int, *, rows: int = 10, seed: int = 0) -> list[int]:
    steps = steps_an_epoch(rows, batch_rows=4)
    assert steps == 3
    return [
        int(row)
        for step in range(number * steps, (number + 1) * steps)
        for row in batch_of(rows, step=step, batch_rows=4, seed=seed)
    ]


def test_an_epoch_sees_every_row_once() -> None:
    assert sorted(epoch(0)) == sorted(epoch(1)) == list(range(10))


def test_the_order_is_another_each_epoch_and_seed() -> None:
    assert epoch(0) != epoch(1)
    assert epoch(0) != epoch(0, seed=1)
    assert epoch(1) == epoch(1)


def test_parts_hold_each_row_once_within_the_tokens() -> None:
    rows = [np.arange(length, dtype=np.int32) for length in (3, 9, 4, 8, 5)]
    chosen = np.array([4, 0, 3, 1])

    parts = list(
        packed_parts(rows, chosen, max_batch_tokens=10, device=torch.device("cpu"))
    )

    assert sorted(int(row) for part in parts for row in part.rows) == [0, 1, 3, 4]
    for part in parts:
        lengths = [len(rows[row]) for row in part.rows]
        assert part.feed["row_lengths"].tolist() == lengths
        assert part.feed["input_ids"].tolist() == [
            token for row in part.rows for token in rows[row]
        ]
        assert sum(lengths) <= 10
