"""The cache of rows: bounded, by tokens, and never in part."""

from __future__ import annotations

from typing import Any

import numpy as np

from megatick_server.row_cache import RowCache


def row(*tokens: int) -> Any:
    return np.array(tokens, np.int32)


def logits(value: float) -> dict[str, Any]:
    return {"logits": np.array([value], np.float32)}


def value_of(cache: RowCache, *tokens: int) -> float | None:
    found = cache.get(row(*tokens), {"logits"})
    return None if found is None else float(found["logits"][0])


def test_a_row_is_known_by_its_tokens() -> None:
    cache = RowCache(10)
    cache.put(row(1, 2), logits(3.0))

    assert value_of(cache, 1, 2) == 3.0
    assert value_of(cache, 2, 1) is None
    assert (cache.hits, cache.misses) == (1, 1)


def test_the_least_recently_used_row_goes_first() -> None:
    cache = RowCache(2)
    cache.put(row(1), logits(1.0))
    cache.put(row(2), logits(2.0))
    value_of(cache, 1)
    cache.put(row(3), logits(3.0))

    assert [value_of(cache, token) for token in (1, 2, 3)] == [1.0, None, 3.0]


def test_a_row_with_less_than_is_wanted_is_not_known() -> None:
    cache = RowCache(2)
    cache.put(row(1), logits(1.0))
    assert cache.get(row(1), {"logits", "embedding"}) is None

    cache.put(row(1), {"embedding": np.ones(4, np.float32)})
    found = cache.get(row(1), {"logits", "embedding"})
    assert found is not None
    assert found["logits"].tolist() == [1.0]


def test_a_cache_of_no_rows_keeps_none() -> None:
    cache = RowCache(0)
    cache.put(row(1), logits(1.0))

    assert value_of(cache, 1) is None
    assert (cache.hits, cache.misses) == (0, 0), "nothing is looked up"


def test_a_row_is_kept_without_those_it_was_computed_beside() -> None:
    """A view would keep the memory of all of them."""
    together = np.array([[1.0], [2.0]], np.float32)
    cache = RowCache(10)
    cache.put(row(1), {"logits": together[0]})

    together[0] = 5.0

    assert value_of(cache, 1) == 1.0
