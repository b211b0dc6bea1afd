"""``score(texts, errors="return")``: good texts are scored, bad ones have their reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from batch_world import Troubled
from endpoint import serve

from megatick_client import (
    BadRequest,
    Client,
    PartialSentiments,
    Rejection,
    Sentiment,
    ServerError,
)

if TYPE_CHECKING:
    from tests.client.conftest import MakeClient


@pytest.fixture
def endpoint() -> Iterator[Troubled]:
    with serve(Troubled()) as endpoint:
        yield endpoint


@pytest.mark.triton
def test_good_and_bad_rows_of_several_requests(client: Client) -> None:
    """Text i has i signs, and so the score i / (3 + i); 80 rows are three requests, of
    which the second has bad rows of both kinds and the third none but bad ones."""
    texts: list[Any] = ["+" * i or "0" for i in range(64)] + [" "] * 16
    texts[3], texts[40], texts[41], texts[63] = "\n", None, " ", "a\ud800"

    results = client.score(texts, errors="return")

    assert isinstance(results, PartialSentiments)
    bad = [3, 40, 41, *range(63, 80)]
    assert [row.row for row in results.rejections] == bad
    for i, row in enumerate(results):
        if i in bad:
            assert isinstance(row, Rejection)
            assert (row.row, row.field) == (i, "TEXT")
        else:
            assert isinstance(row, Sentiment)
            assert row.text == texts[i]
            assert row.score == pytest.approx(i / (3 + i), rel=1e-6)
    assert results[3] == Rejection(3, "TEXT", "is blank")
    assert "expected a str, found None" in results.rejections[1].problem
    assert "half of a surrogate pair" in results.rejections[3].problem


@pytest.mark.triton
def test_the_frame_has_every_row_at_its_label(client: Client) -> None:
    headlines: pd.Series[Any] = pd.Series(
        ["up +", None, " ", "down - -"], index=[20, 10, 5, 7]
    )

    results = client.score(headlines, errors="return")

    np.testing.assert_allclose(results.scores, [0.25, np.nan, np.nan, -0.4], rtol=1e-6)
    frame = results.to_frame()
    assert frame.index.tolist() == [20, 10, 5, 7]
    np.testing.assert_array_equal(frame["score"], results.scores)
    assert frame["label"].tolist()[::3] == ["positive", "negative"]
    assert frame["label"].isna().tolist() == [False, True, True, False]
    assert frame["tokens"].tolist() == [2, pd.NA, pd.NA, 3]
    assert frame["truncated"].tolist() == [False, pd.NA, pd.NA, False]
    assert frame["problem"].tolist()[1:3] == [results.rejections[0].problem, "is blank"]
    assert frame["problem"].isna().tolist() == [True, False, False, True]
    assert results[1:].to_frame().index.tolist() == [10, 5, 7]


@pytest.mark.triton
def test_texts_that_are_split_are_so_beside_bad_ones(client: Client) -> None:
    """The stand-in reads 8 words."""
    long = "One two three four five. Six seven eight nine ten."

    results = client.score([long, " "], errors="return", truncation="split")

    assert isinstance(results[0], Sentiment)
    assert len(results[0].parts) == 2
    assert results[1] == Rejection(1, "TEXT", "is blank")


def test_each_good_text_is_scored_once_however_little_a_refusal_names(
    make_client: MakeClient, endpoint: Troubled
) -> None:
    """One bad row a refusal: rows 2, 5 and 6 of the first request cost one sending each."""
    endpoint.listed = 1
    texts = [f"text {i}" for i in range(50)]
    for bad in (2, 5, 6):
        texts[bad] = " "

    with make_client(endpoint.address) as client:
        results = client.score(texts, errors="return")

    assert [row.row for row in results.rejections] == [2, 5, 6]
    assert len(endpoint.requests) == 3 + 1 + 1
    assert set(endpoint.seen.values()) == {1}
    assert endpoint.seen.keys() == {text for text in texts if text.strip()}


def test_nothing_is_sent_where_nothing_is_good(
    make_client: MakeClient, endpoint: Troubled
) -> None:
    nothing: list[Any] = [None, float("nan")]
    with make_client(endpoint.address) as client:
        assert len(client.score(nothing, errors="return").rejections) == 2
        empty = client.score([], errors="return")

    assert endpoint.requests == []
    assert len(empty) == 0
    assert empty.to_frame().columns.tolist()[-3:] == ["tokens", "truncated", "problem"]


def test_what_is_no_row_s_fault_is_raised(
    make_client: MakeClient, endpoint: Troubled
) -> None:
    wrong: Any = "ignore"
    one: Any = "one text"
    with make_client(endpoint.address) as client:
        with pytest.raises(ServerError, match="told to crash"):
            client.score(["a", "crash"], errors="return")
        with pytest.raises(BadRequest, match="priority: expected one of"):
            client.score(["a"], errors="return", priority=wrong)
        with pytest.raises(BadRequest, match="errors: expected raise, return, found 'ig"):
            client.score(["a"], errors=wrong)
        with pytest.raises(BadRequest, match="errors: expected 'raise' of one text"):
            client.score(one, errors="return")
