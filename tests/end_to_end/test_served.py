"""The whole way: checkpoint, export, Triton, SDK.  Answers equal the reference network."""

from __future__ import annotations

import json
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tritonclient.grpc as triton
from served import Served
from tiny import WINDOW

from megatick_client import BadRequest, Client, Sentiment, Sentiments, SentimentState
from megatick_client.load import (
    Texts,
    constant,
    market_view_calls,
    replay,
    sentiment_calls,
)
from megatick_contract import MARKET_VIEW, PUBLIC_MODELS, STAGES_OF, Model
from megatick_contract.tensors import NUMPY_DTYPES

pytestmark = pytest.mark.triton

TOLERANCE = 2e-5
"""Of a probability: float32, and a batch sums in another order than a row alone."""

FORECASTER = (
    Path(__file__).parents[2]
    / "model_repository"
    / "shared"
    / "price_forecast"
    / "1"
    / "forecaster.json"
)
PRICES = (100 * np.exp(np.cumsum(np.full(30, 0.01)))).tolist()


def texts_of_mixed_lengths(count: int) -> list[str]:
    random = np.random.default_rng(3)
    letters = list("abcdefghijklmnopqrstuvwxyz ")
    return [
        "".join(random.choice(letters, random.integers(1, WINDOW))).strip() or "x"
        for _ in range(count)
    ]


def as_array(sentiment: Sentiment) -> npt.NDArray[np.float64]:
    p = sentiment.probabilities
    return np.array([p.negative, p.neutral, p.positive])


def test_the_served_model_is_the_reference_network(served: Served, client: Client) -> None:
    texts = ["a", "利润大增 📈", *texts_of_mixed_lengths(150)]  # more than one request

    results = client.score(texts)

    expected = np.array([served.probabilities(text) for text in texts])
    found = np.array([as_array(result) for result in results])
    assert np.ptp(expected[:, 0]) > 0.2, "texts that all score alike would prove nothing"
    np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    np.testing.assert_allclose(
        [result.score for result in results],
        expected[:, 2] - expected[:, 0],
        atol=TOLERANCE,
    )
    assert [r.label for r in results] == [
        ("negative", "neutral", "positive")[row.argmax()] for row in expected
    ]


def test_200_requests_of_mixed_lengths_from_16_threads_equal_each_text_alone(
    client: Client,
) -> None:
    random = np.random.default_rng(5)
    texts = texts_of_mixed_lengths(400)
    requests = [
        [texts[i] for i in random.integers(0, len(texts), random.integers(1, 9))]
        for _ in range(200)
    ]
    alone = {text: as_array(client.score(text)) for text in texts}

    def ask(texts: list[str]) -> Sentiments:
        return client.score(texts)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, requests))

    assert len(answers) == 200
    for request, answer in zip(requests, answers, strict=True):
        found = np.array([as_array(result) for result in answer])
        expected = np.array([alone[text] for text in request])
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)


def test_a_bad_request_harms_none_of_those_it_is_batched_with(client: Client) -> None:
    alone = as_array(client.score("all is well"))

    def ask(number: int) -> Any:
        if number % 4 == 0:
            with pytest.raises(BadRequest) as caught:
                client.market_view(["fine", " "], [[*PRICES, -1.0], PRICES])
            return caught.value
        return client.market_view("all is well", PRICES)

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, range(64)))

    for number, answer in enumerate(answers):
        if number % 4 == 0:
            named = {(r.row, r.field) for r in answer.rejections}
            assert named == {(0, "PRICES"), (1, "TEXT")}
        else:
            np.testing.assert_allclose(as_array(answer.sentiment), alone, atol=TOLERANCE)


def test_a_market_view_joins_the_text_to_the_state_and_the_forecast(
    served: Served, client: Client
) -> None:
    state = SentimentState(score_sum=0.5, weight=1.0, last_score=0.5, texts=1)
    # The shipped forecaster's half-life is a day: after one, half the weight is left.
    view = client.market_view(
        "all is well", PRICES, sentiment_state=state, elapsed_s=86_400.0
    )

    expected = served.probabilities("all is well")
    score = float(expected[2] - expected[0])
    following = view.next_sentiment_state
    assert view.sentiment.score == pytest.approx(score, abs=TOLERANCE)
    assert following.score_sum == pytest.approx(0.25 + score, abs=TOLERANCE)
    assert following.weight == pytest.approx(1.5)
    assert following.last_score == pytest.approx(score, abs=TOLERANCE)
    assert following.texts == 2
    forecast = client.forecast(PRICES)
    np.testing.assert_array_equal(view.forecast.quantiles, forecast.quantiles)


def test_a_forecast_is_what_the_fitted_numbers_say(client: Client) -> None:
    fitted = json.loads(FORECASTER.read_text())
    forecast = client.forecast(PRICES)

    assert forecast.horizons_bars == (1, 5, 20)
    assert list(forecast.edge) == fitted["edge"]
    np.testing.assert_allclose(forecast.edge_p_value, fitted["edge_p_value"], rtol=1e-6)
    # Every return is 1 %: the volatility is one, so its log and that of every mean
    # |return| over it are 0, the latest move is 1, and the return over n bars √n.
    seen = {"last_move": 1.0, "momentum_5": 5**0.5, "momentum_20": 20**0.5}
    values = [seen.get(name, 0.0) for name in fitted["features"]]
    scales = np.exp(np.array(fitted["log_scale"]) @ values)[:, None]
    to_horizon = 0.01 * np.sqrt([[1], [5], [20]])
    np.testing.assert_allclose(
        forecast.quantiles, to_horizon * scales * fitted["quantiles"], rtol=2e-3
    )
    np.testing.assert_allclose(
        forecast.baseline_quantiles, to_horizon * fitted["baseline_quantiles"], rtol=2e-3
    )


@pytest.mark.parametrize(
    ("truncation", "kept"),
    [("head", slice(None, WINDOW)), ("tail", slice(-WINDOW, None))],
)
def test_a_text_past_the_window_keeps_its_head_or_its_tail_and_says_so(
    served: Served, client: Client, truncation: Any, kept: slice
) -> None:
    text = "".join(chr(97 + i % 26) for i in range(300))

    result = client.score(text, truncation=truncation)

    assert (result.tokens, result.truncated) == (WINDOW, True)
    expected = served.probabilities(text[kept])  # one token a letter
    np.testing.assert_allclose(as_array(result), expected, atol=TOLERANCE)


def test_a_text_past_the_window_is_refused_on_request(client: Client) -> None:
    with pytest.raises(BadRequest, match=f"is 300 tokens long, the model reads {WINDOW}"):
        client.score(["short", "x" * 300], truncation="error")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        pytest.param("", "is blank", id="empty"),
        pytest.param("x" * 1_000_000, "is 1000000 bytes long", id="a-million-characters"),
    ],
)
def test_a_bad_text_is_refused_by_name(client: Client, text: str, problem: str) -> None:
    with pytest.raises(BadRequest, match=problem) as caught:
        client.score(["fine", text])

    assert [(r.row, r.field) for r in caught.value.rejections] == [(1, "TEXT")]


def infer_input(name: str, array: npt.NDArray[Any], datatype: str) -> Any:
    tensor = triton.InferInput(name, array.shape, datatype)
    tensor.set_data_from_numpy(array)
    return tensor


def test_raw_tritonclient_gets_every_output_of_the_contract(served: Served) -> None:
    with triton.InferenceServerClient(served.server.endpoints.grpc) as raw:
        reply = raw.infer(
            "market_view",
            [
                infer_input("TEXT", np.array([[b"up"], [b"down"]], object), "BYTES"),
                infer_input("PRICES", np.full((2, 64), 9, np.float32), "FP32"),
                infer_input("SENTIMENT_STATE", np.zeros((2, 4), np.float32), "FP32"),
                infer_input("ELAPSED_S", np.zeros((2, 1), np.float32), "FP32"),
            ],
        )

    for tensor in MARKET_VIEW.outputs:
        array = reply.as_numpy(tensor.name)
        assert array.dtype == NUMPY_DTYPES[tensor.datatype], tensor.name
        tensor.check(array)
        assert len(array) == 2
    digest = reply.as_numpy("MODEL_DIGEST")[0, 0].decode()
    assert digest == served.receipt.model_digest


@pytest.mark.parametrize(
    ("model", "stages"),
    [
        ("sentiment", ("preprocess", "queue", "language_model", "sentiment_scores")),
        (
            "market_view",
            (
                "preprocess",
                "queue",
                "language_model",
                "sentiment_scores",
                "price_forecast",
            ),
        ),
        ("price_forecast", ("price_forecast",)),
    ],
)
def test_a_reply_tells_its_stages_on_request_and_they_fit_into_the_call(
    served: Served, model: str, stages: tuple[str, ...]
) -> None:
    assert STAGES_OF[model] == stages
    window = [
        infer_input("PRICES", np.full((2, 64), 9, np.float32), "FP32"),
        infer_input("SENTIMENT_STATE", np.zeros((2, 4), np.float32), "FP32"),
        infer_input("ELAPSED_S", np.zeros((2, 1), np.float32), "FP32"),
    ]
    text = [infer_input("TEXT", np.array([[b"up"], [b"down"]], object), "BYTES")]
    inputs = {"sentiment": text, "price_forecast": window}.get(model, text + window)
    with triton.InferenceServerClient(served.server.endpoints.grpc) as raw:
        started = time.perf_counter()
        reply = raw.infer(model, inputs, outputs=[triton.InferRequestedOutput("STAGE_US")])
        call_us = (time.perf_counter() - started) * 1e6

    found = reply.as_numpy("STAGE_US")
    assert found.shape == (2, len(stages))
    assert (found > 0).all()
    assert (found.sum(axis=1) < call_us).all()


def test_the_sdk_names_the_stages_and_the_model(served: Served, client: Client) -> None:
    sentiment = client.score("all is well", timings=True).reply
    forecast = client.forecast([1.0, 1.1], timings=True).reply
    view = client.market_view("all is well", [1.0, 1.1], timings=True).reply

    for reply in (sentiment, forecast, view):
        assert tuple(reply.stages_s) == STAGES_OF[reply.model]
        assert 0 < sum(reply.stages_s.values()) < reply.elapsed_s
    digests = {sentiment.model_digest, view.model_digest}
    assert digests == {served.receipt.model_digest}


def test_the_server_says_how_far_a_score_may_move(served: Served, client: Client) -> None:
    """Twice as far as a probability may: a score is the difference of two."""
    expected = 2 * served.receipt.tolerances["probability"]
    texts, prices = Texts(("all is well",)), {"A": np.array(PRICES)}

    assert client.score_tolerance() == pytest.approx(expected, rel=1e-6)
    for calls in (sentiment_calls(texts), market_view_calls(texts, prices)):
        found = replay(constant(20, 0.2), calls, client.addresses[0])

        assert found.tolerance.source == "stated by the server"
        assert found.tolerance.value == pytest.approx(expected, rel=1e-6)
        assert found.answers.wrong == 0


@pytest.mark.parametrize("model", ["sentiment", "market_view"])
def test_a_client_that_asks_for_classes_gets_their_names(
    served: Served, model: str
) -> None:
    text = infer_input("TEXT", np.array([[b"up"], [b"all is well"]], object), "BYTES")
    window = [
        infer_input("PRICES", np.full((2, 64), 9, np.float32), "FP32"),
        infer_input("SENTIMENT_STATE", np.zeros((2, 4), np.float32), "FP32"),
        infer_input("ELAPSED_S", np.zeros((2, 1), np.float32), "FP32"),
    ]
    likeliest = triton.InferRequestedOutput("PROBABILITIES", class_count=1)
    with triton.InferenceServerClient(served.server.endpoints.grpc) as raw:
        inputs = [text, *window] if model == "market_view" else [text]
        found = raw.infer(model, inputs, outputs=[likeliest]).as_numpy("PROBABILITIES")

    assert found.shape == (2, 1)
    for sent, (cell,) in zip(("up", "all is well"), found, strict=True):
        row = served.probabilities(sent)
        probability, number, name = cell.decode().split(":")
        assert float(probability) == pytest.approx(row.max(), abs=TOLERANCE)
        assert int(number) == row.argmax()
        assert name == ("negative", "neutral", "positive")[row.argmax()]


@pytest.mark.parametrize(
    ("model", "output"),
    [(model, tensor.name) for model in PUBLIC_MODELS for tensor in model.outputs],
    ids=lambda value: getattr(value, "name", value),
)
def test_any_output_can_be_asked_for_alone(
    served: Served, model: Model, output: str
) -> None:
    everything = {
        "TEXT": infer_input("TEXT", np.array([[b"up"]], object), "BYTES"),
        "PRICES": infer_input("PRICES", np.full((1, 64), 9, np.float32), "FP32"),
        "SENTIMENT_STATE": infer_input(
            "SENTIMENT_STATE", np.zeros((1, 4), np.float32), "FP32"
        ),
        "ELAPSED_S": infer_input("ELAPSED_S", np.zeros((1, 1), np.float32), "FP32"),
    }
    with triton.InferenceServerClient(served.server.endpoints.grpc) as raw:
        reply = raw.infer(
            model.name,
            [everything[tensor.name] for tensor in model.inputs],
            outputs=[triton.InferRequestedOutput(output)],
        )

    assert [each.name for each in reply.get_response().outputs] == [output]
    assert len(reply.as_numpy(output)) == 1


def test_a_private_step_called_in_part_harms_no_other_call(
    served: Served, client: Client
) -> None:
    alone = as_array(client.score("all is well"))
    # All outputs are asked for, and the prices that most of them need are not sent.
    inputs = [infer_input("TEXT", np.array([[b"all is well"]], object), "BYTES")]

    def ask(number: int) -> Any:
        if number % 2:
            return as_array(client.score("all is well"))
        refused = pytest.raises(Exception, match="without the optional input PRICES")
        with triton.InferenceServerClient(served.server.endpoints.grpc) as raw, refused:
            raw.infer("scorer", inputs)
        return None

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, range(60)))

    for answer in answers[1::2]:
        np.testing.assert_allclose(answer, alone, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("model", "tensor", "message"),
    [
        pytest.param(
            "sentiment", ("TEXT", np.zeros((1, 1), np.float32), "FP32"), "BYTES", id="dtype"
        ),
        pytest.param(
            "sentiment",
            ("TEXT", np.array([b"flat"], object), "BYTES"),
            r"Expected \[-1,1\]",
            id="shape",
        ),
        pytest.param(
            "sentiment",
            ("TEXT", np.array([[b"caf\xe9"]], object), "BYTES"),
            r"\[row 0, TEXT\] is not UTF-8 at byte 3",
            id="latin-1",
        ),
        pytest.param(
            "sentiment",
            ("TEXT", np.full((257, 1), b"x", object), "BYTES"),
            "batch-size must be <= 256",
            id="257-rows",
        ),
        pytest.param(
            "nobody", ("TEXT", np.array([[b"x"]], object), "BYTES"), "unknown", id="model"
        ),
    ],
)
def test_raw_requests_that_are_wrong_are_told_what_was_expected(
    served: Served, model: str, tensor: Any, message: str
) -> None:
    with (
        triton.InferenceServerClient(served.server.endpoints.grpc) as raw,
        pytest.raises(Exception, match=message),
    ):
        raw.infer(model, [infer_input(*tensor)])


def test_the_sdk_lists_the_public_models(client: Client) -> None:
    assert {status.name for status in client.models() if status.ready} == {
        model.name for model in PUBLIC_MODELS
    }


def test_plain_http_gets_the_same_answer_where_it_was_opened(served: Served) -> None:
    body = {
        "inputs": [
            {"name": "TEXT", "datatype": "BYTES", "shape": [1, 1], "data": ["all is well"]}
        ],
        "outputs": [{"name": "PROBABILITIES"}],
    }
    url = f"http://{served.server.endpoints.http}/v2/models/sentiment/infer"
    with urllib.request.urlopen(url, json.dumps(body).encode()) as reply:
        (output,) = json.load(reply)["outputs"]

    expected = served.probabilities("all is well")
    np.testing.assert_allclose(output["data"], expected, atol=TOLERANCE)
