"""``Client.score`` against a real Triton; a stand-in text of p plus and m minus signs has
the probabilities (1 + m, 1, 1 + p) / (3 + m + p)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from megatick_client import BadRequest, Client, Probabilities, Sentiment, Sentiments

pytestmark = pytest.mark.triton


def test_one_text_gives_one_sentiment(client: Client) -> None:
    """``up +`` has 2 words and (1, 1, 2) / 4; the score is 2/4 - 1/4."""
    assert client.score("up +") == Sentiment(
        text="up +",
        label="positive",
        score=0.25,
        probabilities=Probabilities(negative=0.25, neutral=0.25, positive=0.5),
        tokens=2,
        truncated=False,
    )


@pytest.mark.parametrize(
    "held",
    [
        pytest.param(list, id="list"),
        pytest.param(tuple, id="tuple"),
        pytest.param(np.array, id="numpy"),
        pytest.param(pd.Series, id="series"),
        pytest.param(pa.array, id="arrow"),
        pytest.param(iter, id="iterator"),
    ],
)
def test_many_texts_keep_their_order(
    client: Client, held: Callable[[list[str]], Iterable[str]]
) -> None:
    results = client.score(held(["a +", "b", "c -"]))

    assert isinstance(results, Sentiments)
    assert [result.text for result in results] == ["a +", "b", "c -"]
    np.testing.assert_array_equal(results.scores, [0.25, 0, -0.25])


def test_more_rows_than_one_request_holds_keep_their_order(client: Client) -> None:
    """Text i has i signs: its score is i / (3 + i); 150 rows are 3 requests."""
    results = client.score(["+" * i for i in range(1, 151)])

    expected = [i / (3 + i) for i in range(1, 151)]
    np.testing.assert_allclose(results.scores, expected, rtol=1e-6)


def test_no_texts_give_no_rows(client: Client) -> None:
    results = client.score([])

    assert len(results) == 0
    assert list(results.to_frame().columns) == [
        "text",
        "label",
        "score",
        "negative",
        "neutral",
        "positive",
        "tokens",
        "truncated",
    ]


def test_slices_are_sentiments(client: Client) -> None:
    results = client.score(["a", "b +", "c +"])

    tail = results[1:]
    assert isinstance(tail, Sentiments)
    assert [row.text for row in tail] == ["b +", "c +"]


def test_probabilities_are_one_array_in_the_order_of_classes(client: Client) -> None:
    results = client.score(["up +", "down - -"])

    expected = [[0.25, 0.25, 0.5], [0.6, 0.2, 0.2]]
    np.testing.assert_allclose(results.probabilities, expected, atol=1e-7)
    assert client.score([]).probabilities.shape == (0, 3)


def test_frame_is_aligned_with_the_series_that_was_scored(client: Client) -> None:
    headlines = pd.Series(["up +", "down - -"], index=[20, 10])

    frame = client.score(headlines).to_frame()

    expected = pd.DataFrame(
        {
            "text": ["up +", "down - -"],
            "label": ["positive", "negative"],
            "score": [0.25, -0.4],
            "negative": [0.25, 0.6],
            "neutral": [0.25, 0.2],
            "positive": [0.5, 0.2],
            "tokens": [2, 3],
            "truncated": [False, False],
        },
        index=[20, 10],
    )
    pd.testing.assert_frame_equal(frame, expected, rtol=1e-6)


def test_truncation_is_reported_or_refused(client: Client) -> None:
    nine_words = "word " * 9  # the stand-in reads 8

    read = client.score(nine_words)
    assert (read.tokens, read.truncated) == (8, True)
    with pytest.raises(BadRequest, match="is 9 tokens long, the model reads 8"):
        client.score(nine_words, truncation="error")


def test_refusal_names_the_callers_rows_over_all_requests(client: Client) -> None:
    """Rows 1 and 70 are in different requests; one error names both."""
    texts = ["fine"] * 140
    texts[1] = texts[70] = " "

    with pytest.raises(BadRequest) as refused:
        client.score(texts)

    assert refused.value.rows == (1, 70)
    assert [r.field for r in refused.value.rejections] == ["TEXT", "TEXT"]
    assert refused.value.model == "sentiment"
    assert "2 of 140 rows refused: row 1, TEXT: is blank; row 70, TEXT" in str(
        refused.value
    )


def test_threads_share_a_client(client: Client) -> None:
    """Thread i sends i plus signs, and gets its own i / (3 + i) back, 20 times."""

    def scores(i: int) -> list[float]:
        return [client.score("+" * i).score for _ in range(20)]

    with ThreadPoolExecutor(16) as threads:
        answers = list(threads.map(scores, range(1, 17)))

    expected = [[i / (3 + i)] * 20 for i in range(1, 17)]
    np.testing.assert_allclose(answers, expected, rtol=1e-6)
