"""What a caller sees when a server is slow, full, lacking, stopping or gone."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from held import Held
from tritonclient.grpc import service_pb2, service_pb2_grpc

from megatick_client import (
    NO_RETRIES,
    Client,
    ClientClosed,
    ClientError,
    DeadlineExceeded,
    Health,
    MarketView,
    ModelNotReady,
    ModelStatus,
    Overloaded,
    ServerError,
    ServerHealth,
    ServerUnavailable,
)

if TYPE_CHECKING:
    from tests.client.conftest import MakeClient


@pytest.fixture
def silent_address() -> Iterator[str]:
    """Where connections are accepted, and nothing is ever said."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        yield f"127.0.0.1:{silent.getsockname()[1]}"


@contextmanager
def grpc_server(service: Any = None) -> Iterator[str]:
    """A gRPC server of this process, with Triton's service or with none; its address."""
    server = grpc.server(ThreadPoolExecutor(1))
    if service is not None:
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(service, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


def test_nobody_there_is_known_long_before_the_deadline(
    make_client: MakeClient, dead_address: str
) -> None:
    begin_s = time.monotonic()
    with (
        make_client(dead_address, timeout_s=60) as client,
        pytest.raises(ServerUnavailable, match="no server answers") as caught,
    ):
        client.score("a")

    assert time.monotonic() - begin_s < 30
    assert caught.value.address == dead_address
    assert "Connection refused" in caught.value.detail


def test_a_silent_server_costs_no_more_than_the_deadline(
    make_client: MakeClient, silent_address: str
) -> None:
    begin_s = time.monotonic()
    with (
        make_client(silent_address, timeout_s=0.3) as client,
        pytest.raises(DeadlineExceeded),
    ):
        client.score("a")

    assert 0.25 < time.monotonic() - begin_s < 4  # a client's own is five seconds


def test_is_ready_is_no_where_nobody_answers(
    make_client: MakeClient, dead_address: str, silent_address: str
) -> None:
    with make_client(dead_address) as client:
        assert client.is_ready() is False
    with make_client(silent_address, timeout_s=0.2) as client:
        assert client.is_ready() is False


def test_a_closed_client_says_so(make_client: MakeClient, dead_address: str) -> None:
    with make_client(dead_address) as client:
        client.close()

        with pytest.raises(ClientClosed, match="this client is closed"):
            client.score("a")


def test_a_server_of_something_else(make_client: MakeClient) -> None:
    """Another gRPC service knows no such call."""
    with (
        grpc_server() as address,
        make_client(address) as client,
        pytest.raises(ServerError, match="does not know this call"),
    ):
        client.score("a")


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        pytest.param(
            (1, 4), r"expected FP32 \[rows, 3\], found float32 \[1, 4\]", id="shape"
        ),
        pytest.param((2, 3), "expected 1 rows, found 2", id="rows"),
        pytest.param(None, "expected an answer, found none", id="left-out"),
    ],
)
def test_a_server_that_breaks_the_contract(
    make_client: MakeClient, shape: tuple[int, ...] | None, message: str
) -> None:
    """It answers nothing but zeros as PROBABILITIES, in this shape."""

    class Foreign(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            response = service_pb2.ModelInferResponse()
            if shape is not None:
                response.outputs.add(name="PROBABILITIES", datatype="FP32", shape=shape)
                response.raw_output_contents.append(np.zeros(shape, np.float32).tobytes())
            return response

    with (
        grpc_server(Foreign()) as address,
        make_client(address) as client,
        pytest.raises(ServerError, match=message),
    ):
        client.score("a")


@pytest.mark.triton
def test_a_slow_model_costs_no_more_than_the_deadline(client: Client, held: Held) -> None:
    """It does not answer before the caller has given up."""
    begin_s = time.monotonic()
    with pytest.raises(DeadlineExceeded, match=r"in time of 0.2 s \(call to 'sentiment'"):
        client.score(held.text, timeout_s=0.2)

    assert time.monotonic() - begin_s < 4  # a client's own is five seconds


@pytest.mark.triton
def test_one_budget_for_all_requests_of_a_call(client: Client) -> None:
    """Two requests of 0.4 s each do not fit in 0.6 s, though each alone would."""
    texts = ["sleep 0.4", *["a"] * 63, "sleep 0.4"]
    client.score("a")  # nothing is left in the queue from before

    with pytest.raises(DeadlineExceeded):
        client.score(texts, timeout_s=0.6)


@pytest.mark.triton
def test_the_server_knows_the_deadline_too(client: Client) -> None:
    """It drops by itself what it has not begun by then; ``timeout`` is answered with the
    request's own, in milliseconds, as TOKENS."""
    client.score("a")  # nothing is left in the queue from before

    assert 10_000 < client.score("timeout", timeout_s=20).tokens <= 20_000


@pytest.mark.triton
def test_a_full_queue_refuses_at_once(
    make_client: MakeClient, address: str, held: Held
) -> None:
    """The stand-in's ``market_view`` queues 40 requests, and stands still over one more."""

    def call(_: int) -> MarketView | ClientError:
        try:
            return client.market_view(held.text, [1.0])
        except ClientError as error:
            return error

    with (
        make_client(address, retries=NO_RETRIES, timeout_s=60) as client,
        ThreadPoolExecutor(48) as threads,
    ):
        calls = [threads.submit(call, number) for number in range(48)]
        refused = next(as_completed(calls)).result()
        held.let_go()
        answers = [each.result() for each in calls]

    assert isinstance(refused, Overloaded)
    assert "the server is overloaded (call to 'market_view'" in str(refused)
    assert {type(answer) for answer in answers} == {MarketView, Overloaded}


@pytest.mark.triton
def test_a_failing_model(client: Client) -> None:
    with pytest.raises(ServerError, match="told to crash"):
        client.score("crash")


@pytest.mark.triton
def test_health(client: Client) -> None:
    (address,) = client.addresses
    assert client.health() == Health((ServerHealth(address, live=True, ready=True),))
    assert client.is_ready() is True
    assert client.models() == (
        ModelStatus("sentiment", ready=True, versions=("1",)),
        ModelStatus("price_forecast", ready=True, versions=("1",)),
        ModelStatus("market_view", ready=True, versions=("1",)),
        ModelStatus("embedding", ready=True, versions=("1",)),
    )


@pytest.mark.triton
def test_a_model_that_is_not_there(
    make_client: MakeClient, address_of_sentiment: str
) -> None:
    with make_client(address_of_sentiment) as client:
        with pytest.raises(ModelNotReady, match=r"not ready \(call to 'price_forecast'"):
            client.forecast([1.0])
        assert client.models() == (
            ModelStatus("sentiment", ready=True, versions=("1",)),
            ModelStatus("price_forecast", ready=False, versions=()),
            ModelStatus("market_view", ready=False, versions=()),
            ModelStatus("embedding", ready=False, versions=()),
        )


@pytest.mark.triton
def test_close_ends_a_call_in_flight(client: Client, held: Held) -> None:
    def close() -> None:
        held.wait()
        client.close()

    closer = threading.Thread(target=close)
    closer.start()
    with pytest.raises(ClientClosed):
        client.score(held.text, timeout_s=60)
    closer.join()
