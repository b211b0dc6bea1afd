"""Messages as tritonclient itself writes and reads them."""

from __future__ import annotations

import numpy as np
import pytest
from endpoint import Endpoint, serve
from tritonclient.grpc import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    service_pb2,
)
from tritonclient.utils import InferenceServerException

from megatick_client.load import Texts, in_lane, market_view_calls, sentiment_calls
from megatick_client.wire import decode, encode


def test_a_call_is_what_tritonclient_would_send() -> None:
    prices = {"A": np.array([1.0, 2.0])}
    (call,) = market_view_calls(Texts(("Umsatz fällt", "b")), prices, rows=2)
    inputs = []
    for tensor, array in call.inputs.items():
        each = InferInput(tensor.name, list(array.shape), tensor.datatype)
        each.set_data_from_numpy(array)
        inputs.append(each)
    with (
        serve(Endpoint(refuse=range(1))) as endpoint,
        InferenceServerClient(endpoint.address) as theirs,
        pytest.raises(InferenceServerException, match="queue"),
    ):
        theirs.infer(
            "market_view",
            inputs,
            outputs=[InferRequestedOutput(tensor.name) for tensor in call.outputs],
            priority=2,
            timeout=250_000,
            parameters={"truncation": "head"},
        )

    found = service_pb2.ModelInferRequest.FromString(
        encode(call, timeout_us=250_000, priority=2)
    )

    assert [found] == endpoint.requests


def test_without_a_priority_the_server_decides() -> None:
    (call,) = sentiment_calls(Texts(("a",)))

    message = service_pb2.ModelInferRequest.FromString(encode(call, timeout_us=1))

    assert "priority" not in message.parameters
    assert message.parameters["timeout"].int64_param == 1


def test_an_answer_is_read() -> None:
    response = service_pb2.ModelInferResponse(model_name="m")
    response.outputs.add(name="SCORE", datatype="FP32", shape=[2, 1])
    response.raw_output_contents.append(np.array([[0.5], [-1]], np.float32).tobytes())

    found = decode(response.SerializeToString())

    assert found["SCORE"].tolist() == [[0.5], [-1.0]]


def test_bytes_that_are_no_answer() -> None:
    with pytest.raises(ValueError, match="no ModelInferResponse"):
        decode(b"\xff\xff")


def test_calls_of_a_lane_say_so_beside_what_they_said() -> None:
    calls = in_lane(sentiment_calls(Texts(("a",)), truncation="tail"), "backfill")

    message = service_pb2.ModelInferRequest.FromString(encode(calls[0], timeout_us=1))
    parameters = {name: each.string_param for name, each in message.parameters.items()}
    assert (parameters["lane"], parameters["truncation"]) == ("backfill", "tail")
