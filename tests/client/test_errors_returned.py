"""``errors="return"``: good rows are answered, bad ones have their reason in place."""

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
    Forecast,
    PartialEmbeddings,
    PartialForecasts,
    PartialMarketViews,
    PartialSentiments,
    Rejection,
    Sentiment,
    SentimentState,
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


@pytest.mark.triton
def test_vectors_of_good_texts(client: Client) -> None:
    """The stand-in counts minus signs, plus signs and characters."""
    texts: pd.Series[Any] = pd.Series(["+", None, " ", "--"], index=[20, 10, 5, 7])

    results = client.embed(texts, errors="return")

    assert isinstance(results, PartialEmbeddings)
    assert [(bad.row, bad.field) for bad in results.rejections] == [
        (1, "TEXT"),
        (2, "TEXT"),
    ]
    frame = results.to_frame()
    assert frame.index.tolist() == [20, 10, 5, 7]
    np.testing.assert_array_equal(frame["embedding_0"], [0, np.nan, np.nan, 2])
    np.testing.assert_array_equal(frame["embedding_2"], [1, np.nan, np.nan, 2])
    assert frame["tokens"].tolist() == [1, pd.NA, pd.NA, 1]
    assert frame["problem"].tolist()[1:3] == [bad.problem for bad in results.rejections]
    assert frame["problem"].isna().tolist() == [True, False, False, True]


@pytest.mark.triton
def test_forecasts_of_good_symbols_with_their_own_news(client: Client) -> None:
    """40 symbols are two requests.  The stand-in answers with each row's elapsed seconds
    and texts of the state, in thousandths; its baseline is the first close."""
    prices: dict[str, Any] = {f"S{i}": [100 + i, 101 + i] for i in range(40)}
    prices["S1"], prices["S2"], prices["S38"] = [np.nan, np.nan], ["x"], []
    states = [SentimentState(texts=i) for i in range(40)]

    results = client.forecast(
        prices,
        errors="return",
        sentiment_state=states,
        elapsed_s=[10.0 + i for i in range(40)],
    )

    assert isinstance(results, PartialForecasts)
    assert [bad.row for bad in results.rejections] == [1, 2, 38]
    assert results[1] == Rejection(1, "PRICES", "has no price")
    for i, row in enumerate(results):
        if i in (1, 2, 38):
            continue
        assert isinstance(row, Forecast)
        assert (row.symbol, row.last_price) == (f"S{i}", 101 + i)
        assert row.baseline_quantiles[0, 0] == 100 + i
        np.testing.assert_allclose(row.p_up[1:], [(10 + i) / 1e3, i / 1e3], rtol=1e-6)


@pytest.mark.triton
def test_the_frame_of_forecasts_has_a_line_for_each_bad_symbol(client: Client) -> None:
    """A forecast has 3 horizons and 7 levels."""
    prices = pd.DataFrame({"A": [1.0, 2], "B": [np.nan] * 2, "C": [3.0, 4]})

    results = client.forecast(prices, errors="return")
    frame = results.to_frame()

    assert frame["row"].tolist() == [0] * 21 + [1] + [2] * 21
    assert frame["symbol"].tolist() == ["A"] * 21 + ["B"] + ["C"] * 21
    assert frame["problem"].dropna().tolist() == ["has no price"]
    assert frame.columns.tolist()[-2:] == ["baseline_price", "problem"]
    good = frame[frame["row"] == 2].drop(columns="problem").reset_index(drop=True)
    alone = client.forecast({"C": [3.0, 4]}).to_frame().assign(row=2)
    pd.testing.assert_frame_equal(good, alone, check_dtype=False)
    assert results[1:].to_frame()["symbol"].tolist() == ["B"] + ["C"] * 21
    assert results[1:2].to_frame()["horizon_bars"].tolist() == [pd.NA]


@pytest.mark.triton
def test_views_whose_text_or_prices_are_bad(client: Client) -> None:
    texts = ["up +", " ", "flat", "down -", None]
    prices = [[1.0, 2], [3.0, 4], [np.nan], [5.0, 6], [7.0, 8]]

    results = client.market_view(texts, prices, errors="return", elapsed_s=[1, 2, 3, 4, 5])

    assert isinstance(results, PartialMarketViews)
    found = [(bad.row, bad.field) for bad in results.rejections]
    assert found == [(1, "TEXT"), (2, "PRICES"), (4, "TEXT")]
    good = results[3]
    assert not isinstance(good, Rejection)
    assert (good.sentiment.text, good.forecast.last_price) == ("down -", 6)
    assert good.forecast.p_up[1] == pytest.approx(4 / 1e3)
    frame = results.to_frame()
    assert frame["row"].tolist() == [0] * 21 + [1, 2] + [3] * 21 + [4]
    assert frame["text"].dropna().unique().tolist() == ["up +", "down -"]
    assert frame["problem"].dropna().tolist() == [bad.problem for bad in results.rejections]


@pytest.mark.triton
def test_where_all_is_bad_there_are_reasons_alone(client: Client) -> None:
    views = client.market_view([" "], [[1.0]], errors="return")
    vectors = client.embed([" "], errors="return")
    forecasts = client.forecast([[np.nan]], errors="return")

    for results in (views, vectors, forecasts):
        assert results.to_frame()["problem"].tolist() == [results.rejections[0].problem]
    assert len(client.forecast({}, errors="return").to_frame()) == 0


def test_one_row_has_no_place_for_a_reason(make_client: MakeClient) -> None:
    one: Any = "a"
    history: Any = [1.0, 2.0]
    with make_client("127.0.0.1:1") as client:
        with pytest.raises(BadRequest, match="errors: expected 'raise' of one text"):
            client.embed(one, errors="return")
        with pytest.raises(BadRequest, match="errors: expected 'raise' of one text"):
            client.market_view(one, history, errors="return")
        with pytest.raises(BadRequest, match="errors: expected 'raise' of one history"):
            client.forecast(history, errors="return")
        with pytest.raises(BadRequest, match="prices: expected one price history a text"):
            client.market_view(["a", "b"], [[1.0]], errors="return")


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
