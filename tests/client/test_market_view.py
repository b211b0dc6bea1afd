"""``Client.market_view`` against a real Triton, whose stand-in does not decay the news."""

from __future__ import annotations

from typing import Any

import pandas as pd
import pytest

from megatick_client import (
    BadRequest,
    Client,
    MarketView,
    MarketViews,
    SentimentState,
)

pytestmark = pytest.mark.triton


def test_a_text_moves_the_state(client: Client) -> None:
    """``up +`` scores 1/4: it is added to the sum, and 1 to the weight and the count."""
    before = SentimentState(score_sum=0.5, weight=2, last_score=-1, texts=7)

    view = client.market_view("up +", [10.0], sentiment_state=before, elapsed_s=500)

    assert isinstance(view, MarketView)
    assert view.sentiment.score == 0.25
    assert view.forecast.last_price == 10
    assert view.forecast.p_up[1] == 0.5  # elapsed_s / 1000
    assert view.next_sentiment_state == SentimentState(0.75, 3, 0.25, 8)
    assert view.next_sentiment_state.mean_score == 0.25  # 0.75 / 3


def test_a_state_handed_back_goes_on(client: Client) -> None:
    view = client.market_view("up +", [10.0])
    view = client.market_view("up +", [10.0], sentiment_state=view.next_sentiment_state)

    assert view.next_sentiment_state == SentimentState(0.5, 2, 0.25, 2)


def test_many_texts_each_with_its_prices(client: Client) -> None:
    views = client.market_view(["up +", "down -"], {"A": [1.0, 2.0], "B": [3.0]})

    assert isinstance(views, MarketViews)
    assert views.sentiments.scores.tolist() == [0.25, -0.25]
    assert [forecast.symbol for forecast in views.forecasts] == ["A", "B"]
    assert [state.last_score for state in views.next_sentiment_states] == [0.25, -0.25]


def test_frame_sets_each_text_beside_its_forecast(client: Client) -> None:
    frame = client.market_view(["up +", "down -"], {"A": [1.0, 2.0], "B": [3.0]}).to_frame()

    assert len(frame) == 42
    summary = frame[["text", "label", "score", "symbol"]].drop_duplicates()
    assert summary.to_numpy().tolist() == [
        ["up +", "positive", 0.25, "A"],
        ["down -", "negative", -0.25, "B"],
    ]


def test_the_servers_refusal_names_the_row(client: Client) -> None:
    with pytest.raises(BadRequest) as refused:
        client.market_view(["fine", " "], [[1.0], [2.0]])

    assert [(r.row, r.field) for r in refused.value.rejections] == [(1, "TEXT")]


@pytest.mark.parametrize(
    ("text", "prices", "found"),
    [
        pytest.param(["a", "b"], [[1.0]], r"\(2 of them\), found 1", id="too-few-prices"),
        pytest.param("a", [[1.0], [2.0]], r"\(1 of them\), found 2", id="too-many-prices"),
    ],
)
def test_one_history_a_text(
    client: Client, text: list[str], prices: list[list[float]], found: str
) -> None:
    with pytest.raises(BadRequest, match=found):
        client.market_view(text, prices)


def test_one_text_goes_with_one_history_however_it_is_held(client: Client) -> None:
    closes = [1.0, 2.0, 4.0]

    bare = client.market_view("up", closes)
    frame: Any = pd.DataFrame({"close": closes})  # typed for many texts, taken for one
    framed = client.market_view("up", frame)

    assert framed.sentiment == bare.sentiment
    assert framed.forecast.last_price == 4.0
    assert framed.forecast.symbol == "close"


@pytest.mark.parametrize(
    ("states", "elapsed_s", "message"),
    [
        pytest.param([SentimentState()] * 3, 0.0, "one state, or 2, found 3", id="states"),
        pytest.param(None, [1.0, 2.0, 3.0], "one number, or 2, found 3", id="elapsed"),
        pytest.param(None, "soon", "expected seconds, found 'soon'", id="elapsed-text"),
    ],
)
def test_states_and_seconds_fit_the_rows(
    client: Client, states: list[SentimentState] | None, elapsed_s: float, message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        client.market_view(
            ["a", "b"], [[1.0], [1.0]], sentiment_state=states, elapsed_s=elapsed_s
        )
