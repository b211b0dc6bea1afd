from __future__ import annotations

import numpy as np
import pytest

from megatick_contract.packing import plan_batches


@pytest.mark.parametrize("seed", range(20))
def test_batches_hold_each_row_once_within_both_bounds(seed: int) -> None:
    random = np.random.default_rng(seed)
    lengths = random.integers(1, 300, random.integers(1, 200)).tolist()

    batches = plan_batches(lengths, max_batch_tokens=512)

    assert sorted(np.concatenate(batches).tolist()) == list(range(len(lengths)))
    for batch in batches:
        taken = [lengths[row] for row in batch]
        assert sum(taken) <= 512
        assert len(taken) * max(taken) <= 2 * sum(taken)


def test_a_row_over_the_budget_runs_alone() -> None:
    batches = plan_batches([5, 900, 5], max_batch_tokens=512)

    assert [batch.tolist() for batch in batches] == [[0, 2], [1]]


def test_one_long_text_does_not_pad_many_short_ones() -> None:
    # 32 rows of 5 tokens beside one of 120: together attention would see 33 * 120 slots
    # for 280 tokens, and at most 2 * N are allowed.
    batches = plan_batches([5] * 16 + [120] + [5] * 16, max_batch_tokens=4096)

    assert [len(batch) for batch in batches] == [32, 1]
