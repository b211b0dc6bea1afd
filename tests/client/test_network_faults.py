"""Servers and networks that fail under a client: what is lost (nothing), and how long it
takes."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import pytest
from endpoint import Endpoint, serve
from tcp_proxy import black_hole, proxy
from tritonclient.grpc import service_pb2_grpc
from until import until

from megatick_client import (
    NO_RETRIES,
    AsyncClient,
    Client,
    DeadlineExceeded,
    Sentiment,
    ServerUnavailable,
)
from megatick_client import channels as channels_module
from megatick_server.launcher import ServeOptions, TritonServer

if TYPE_CHECKING:
    from tests.client.conftest import MakeClient, StartTriton

MODELS = ("sentiment", "sentiment_step")

# A text of p plus signs has the score p / (3 + p).
TEXT, SCORE = "+", 0.25


@pytest.fixture
def near() -> Iterator[Endpoint]:
    """A good server of this process."""
    with serve(Endpoint()) as endpoint:
        yield endpoint


# --- servers that end -----------------------------------------------------------------


@pytest.mark.triton
def test_a_server_that_was_killed_is_found_again(
    make_client: MakeClient, start_triton: StartTriton
) -> None:
    first = start_triton(*MODELS)
    repository, address = Path(first.repository.path), first.endpoints.grpc
    with make_client(address, timeout_s=10) as client:
        assert client.score(TEXT).score == SCORE
        first.kill()
        first.stop()
        with pytest.raises(ServerUnavailable, match="no server answers"):
            client.score(TEXT)
        assert not client.is_ready()

        port = int(address.rpartition(":")[2])
        options = ServeOptions(grpc_port=port, metrics_port=None)
        with TritonServer(repository, options):
            until(client.is_ready)  # gRPC knocks once a second
            assert client.score(TEXT).score == SCORE


@pytest.mark.triton
def test_no_call_fails_when_one_of_two_servers_is_killed(
    make_client: MakeClient, start_triton: StartTriton
) -> None:
    """Fifty calls are always in flight, on both, when one gets SIGKILL."""
    doomed, other = start_triton(*MODELS), start_triton(*MODELS)
    addresses = [doomed.endpoints.grpc, other.endpoints.grpc]
    killed = threading.Event()
    replies: list[tuple[bool, Sentiment]] = []

    def call_until_well_after() -> None:
        while not killed.is_set():
            replies.append((False, client.score(TEXT)))
        replies.extend((True, client.score(TEXT)) for _ in range(20))

    with (
        make_client(addresses, timeout_s=30) as client,
        ThreadPoolExecutor(50) as threads,
    ):
        calling = [threads.submit(call_until_well_after) for _ in range(50)]
        while len(replies) < 500:
            time.sleep(0.01)
        doomed.kill()
        killed.set()
        for each in calling:
            each.result()  # no call raised

    assert {reply.score for _, reply in replies} == {SCORE}
    before = {reply.reply.address for after, reply in replies if not after}
    assert before == set(addresses)
    repeated = [reply.reply for _, reply in replies if reply.reply.attempts > 1]
    assert repeated, "no call was in flight on the one that was killed"
    assert {reply.address for reply in repeated} == {addresses[1]}


@pytest.mark.triton
def test_a_server_that_hangs_costs_the_deadline_and_then_no_more(
    make_client: MakeClient, start_triton: StartTriton
) -> None:
    """SIGSTOP: its connections stand, and nothing is answered.  Five late answers in a row
    leave it out."""
    hung, other = start_triton(*MODELS), start_triton(*MODELS)
    with make_client([hung.endpoints.grpc, other.endpoints.grpc]) as client:
        assert {client.score(TEXT).score for _ in range(4)} == {SCORE}
        os.kill(hung.pid, signal.SIGSTOP)
        try:
            late = late_answers(client, calls=20, timeout_s=1)
        finally:
            os.kill(hung.pid, signal.SIGCONT)
        assert late[hung.endpoints.grpc] == 5

        until(lambda: client.score(TEXT).reply.address == hung.endpoints.grpc)


def late_answers(client: Client, *, calls: int, timeout_s: float) -> Counter[str | None]:
    """How often each server was late; a good one may be, on a busy machine."""
    late: Counter[str | None] = Counter()
    for _ in range(calls):
        try:
            assert client.score(TEXT, timeout_s=timeout_s).score == SCORE
        except DeadlineExceeded as error:
            late[error.address] += 1
    return late


# --- networks that lose connections ---------------------------------------------------


def test_a_connection_that_went_silent_costs_no_call(
    make_client: MakeClient, near: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gRPC's ping goes unanswered, and the call is sent again on a new connection.

    The silence before a ping is cut from 20 s here, and the time that it has from 10 s.
    """
    shorter = {"grpc.keepalive_time_ms": 500, "grpc.http2.ping_timeout_ms": 500}
    hurried = dict(channels_module.CHANNEL) | shorter
    assert hurried.keys() == dict(channels_module.CHANNEL).keys()
    monkeypatch.setattr(channels_module, "CHANNEL", tuple(hurried.items()))
    with proxy(near.address) as half_open, make_client(half_open.address) as client:
        assert client.score(TEXT).score == SCORE
        before = half_open.connections
        half_open.hang()

        # By gRPC's own times it would hear of it too late.
        reply = client.score(TEXT, timeout_s=30)

        assert reply.score == SCORE
        assert reply.reply.attempts > 1
        assert half_open.connections > before


def test_another_server_answers_while_a_connection_is_silent(
    make_client: MakeClient, near: Endpoint
) -> None:
    with (
        serve(Endpoint()) as other,
        proxy(near.address) as half_open,
        make_client([half_open.address, other.address]) as client,
    ):
        assert {client.score(TEXT).reply.address for _ in range(4)} == {
            half_open.address,
            other.address,
        }
        half_open.hang()

        assert late_answers(client, calls=40, timeout_s=0.5)[half_open.address] == 5


def test_a_black_hole_costs_a_second_once_while_another_server_stands(
    make_client: MakeClient, near: Endpoint
) -> None:
    def cost_s() -> float:
        replies = []
        with make_client([nowhere, near.address]) as client:
            for _ in range(10):
                begin_s = time.monotonic()
                replies.append((client.score(TEXT).reply, time.monotonic() - begin_s))
        assert {reply.address for reply, _ in replies} == {near.address}
        (seconds,) = [seconds for reply, seconds in replies if reply.attempts > 1]
        return seconds

    with black_hole() as nowhere:
        # The kernel alone would take three seconds, each time; on a busy machine a second
        # may become two, but not each time.
        assert any(0.9 < cost_s() < 2.5 for _ in range(5))


def test_a_black_hole_alone_is_told_from_a_slow_server(make_client: MakeClient) -> None:
    with (
        black_hole() as nowhere,
        make_client(nowhere, retries=NO_RETRIES, timeout_s=30) as client,
        pytest.raises(ServerUnavailable, match="no server answers"),
    ):
        client.score(TEXT)


# --- clocks, crowds, and callers who leave ----------------------------------------------


def test_no_time_of_day_is_sent(make_client: MakeClient, near: Endpoint) -> None:
    """So that clocks that differ do not matter: all times are counted from the sending."""
    with make_client(near.address, timeout_s=20) as client:
        client.score(TEXT)

    (request,), (headers,) = near.requests, near.headers
    numbers = {
        name: value.int64_param
        for name, value in request.parameters.items()
        if value.HasField("int64_param")
    }
    assert numbers.keys() == {"timeout"}
    assert 10_000_000 < numbers["timeout"] <= 20_000_000  # microseconds that are left
    assert headers.keys() <= {"user-agent", "grpc-accept-encoding"}


def test_ten_thousand_calls_at_once() -> None:
    """None is answered before all have come; each gets its own answer, once."""
    calls = 10_000

    class Crowded(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def __init__(self) -> None:
            self.endpoint, self.ids = Endpoint(), Counter[str]()
            self.all_there = asyncio.Event()

        async def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            self.ids[request.id] += 1
            if len(self.ids) == calls:
                self.all_there.set()
            await self.all_there.wait()
            return self.endpoint.answer(request)

    async def run() -> tuple[list[Sentiment], Counter[str]]:
        # gRPC's own servers in Python hold 1,000 to 3,000 calls; Triton has no such limit.
        limit = "grpc.server.max_pending_requests"
        limits = (limit, f"{limit}_hard_limit")
        crowded = Crowded()
        server = grpc.aio.server(options=[(each, calls) for each in limits])
        service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(crowded, server)
        port = server.add_insecure_port("127.0.0.1:0")
        await server.start()
        try:
            async with AsyncClient(f"127.0.0.1:{port}", timeout_s=120) as client:
                texts = ["+" * (number % 7) or "-" for number in range(calls)]
                replies = await asyncio.gather(*map(client.score, texts))
        finally:
            await server.stop(None)
        return replies, crowded.ids

    replies, ids = asyncio.run(run())

    assert set(ids.values()) == {1}
    assert [round(reply.score, 6) for reply in replies] == [
        round(plusses / (3 + plusses), 6) for plusses in (n % 7 for n in range(calls))
    ]
