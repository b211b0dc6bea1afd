from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from megatick_contract.packing import choose_batch, plan_batches


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


@pytest.mark.parametrize("seed", range(20))
def test_a_batch_is_filled_as_well_as_any_choice_would(seed: int) -> None:
    """Against all choices: most tokens first, then those that came first."""
    random = np.random.default_rng(seed)
    # Of these any choice is within the bound of attention's padding.
    lengths = random.integers(8, 17, random.integers(1, 11)).tolist()
    others = range(1, len(lengths))
    choices = [
        (0, *more) for count in range(len(lengths)) for more in combinations(others, count)
    ]

    def tokens(choice: tuple[int, ...]) -> int:
        return sum(lengths[row] for row in choice)

    within = [each for each in choices if tokens(each) <= 60]
    most = max(map(tokens, within))
    best = min(each[::-1] for each in within if tokens(each) == most)[::-1]

    assert choose_batch(lengths, max_batch_tokens=60) == list(best)


@pytest.mark.parametrize("seed", range(50))
def test_a_batch_of_any_lengths_is_within_both_bounds(seed: int) -> None:
    random = np.random.default_rng(seed)
    lengths = (
        np.ceil(random.lognormal(3, 1.2, random.integers(1, 100))).astype(int).tolist()
    )

    batch = choose_batch(lengths, max_batch_tokens=512)

    taken = [lengths[row] for row in batch]
    assert batch[0] == 0
    assert sorted(set(batch)) == batch
    assert len(taken) == 1 or sum(taken) <= 512
    assert len(taken) * max(taken) <= 2 * sum(taken)


def test_a_first_row_over_the_budget_runs_alone() -> None:
    assert choose_batch([61, 5], max_batch_tokens=60) == [0]
    assert choose_batch([60, 5], max_batch_tokens=60) == [0]


def test_nearly_all_batches_of_headlines_are_full() -> None:
    """64 wait, as many come as are answered; every seventh is twice as long."""
    lengths = iter(np.tile([14, 19, 11, 24, 17, 21, 52], 64) + np.arange(448) % 3)
    waiting = [int(next(lengths)) for _ in range(64)]
    tokens = []
    for _ in range(16):
        batch = choose_batch(waiting, max_batch_tokens=512)
        tokens.append(sum(waiting[row] for row in batch))
        waiting = [length for row, length in enumerate(waiting) if row not in batch]
        waiting += [int(next(lengths)) for _ in batch]

    assert min(tokens) > 480
    assert tokens.count(512) >= 14
