"""``Client.embed`` against a real Triton; the stand-in's vector of a text is its number of
minus signs, of plus signs, and of characters."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from held import Held

from megatick_client import (
    BadRequest,
    Client,
    DeadlineExceeded,
    Embedding,
    Embeddings,
    ModelNotReady,
)

pytestmark = pytest.mark.triton


def test_one_text_gives_one_vector(client: Client) -> None:
    """``up +`` has no minus, one plus, 4 characters and 2 words."""
    found = client.embed("up +")

    assert isinstance(found, Embedding)
    assert found.values.tolist() == [0, 1, 4]
    assert found.values.dtype == np.float32
    assert (found.text, found.tokens, found.truncated) == ("up +", 2, False)


def test_more_rows_than_one_request_holds_keep_their_order(client: Client) -> None:
    """Text i is i plus signs; 70 rows are 3 requests."""
    found = client.embed(["+" * i for i in range(1, 71)])

    assert isinstance(found, Embeddings)
    assert found.values.tolist() == [[0, i, i] for i in range(1, 71)]
    assert found[60:].values.tolist() == [[0, i, i] for i in range(61, 71)]
    assert found.tokens.tolist() == [1] * 70


def test_what_was_received_cannot_be_written_to(client: Client) -> None:
    for texts in (["up +"], ["up +"] * 33):  # one request and two
        with pytest.raises(ValueError, match="read-only"):
            client.embed(texts)[0].values[0] = 1


def test_frame_is_aligned_with_the_series_that_was_embedded(client: Client) -> None:
    frame = client.embed(pd.Series(["up +", "- -"], index=[20, 10])).to_frame()

    expected = pd.DataFrame(
        {
            "text": ["up +", "- -"],
            "tokens": [2, 2],
            "truncated": [False, False],
            "embedding_0": np.array([0, 2], np.float32),
            "embedding_1": np.array([1, 0], np.float32),
            "embedding_2": np.array([4, 3], np.float32),
        },
        index=[20, 10],
    )
    pd.testing.assert_frame_equal(frame, expected)


def test_no_texts_give_no_rows(client: Client) -> None:
    found = client.embed([])

    assert (len(found), found.values.shape) == (0, (0, 0))
    assert list(found.to_frame().columns) == ["text", "tokens", "truncated"]


def test_truncation_is_reported_or_refused(client: Client) -> None:
    nine_words = "word " * 9  # the stand-in reads 8

    read = client.embed([nine_words])
    assert (read.tokens.tolist(), read.truncated.tolist()) == ([8], [True])
    with pytest.raises(BadRequest, match="is 9 tokens long, the model reads 8"):
        client.embed(nine_words, truncation="error")


def test_refusal_names_the_callers_rows_over_all_requests(client: Client) -> None:
    texts = ["fine"] * 70
    texts[1] = texts[40] = " "

    with pytest.raises(BadRequest) as refused:
        client.embed(texts)

    assert refused.value.rows == (1, 40)
    assert refused.value.model == "embedding"


def test_the_deadline_is_the_whole_calls(client: Client, held: Held) -> None:
    with pytest.raises(DeadlineExceeded, match=r"in time of 0.2 s \(call to 'embedding'"):
        client.embed(held.text, timeout_s=0.2)


def test_a_server_without_the_model_is_named(address_of_sentiment: str) -> None:
    missing = pytest.raises(ModelNotReady, match=r"not ready \(call to 'embedding'")
    with Client(address_of_sentiment) as client, missing:
        client.embed("up +")
