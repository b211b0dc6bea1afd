"""What only a client that runs can show: forks, loops, cancellation, closing, races."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import grpc  # type: ignore[import-untyped]
import pytest
from endpoint import Endpoint, serve
from tcp_proxy import proxy
from tritonclient.grpc import service_pb2
from until import until

from megatick_client import (
    AsyncClient,
    BadRequest,
    Client,
    ClientClosed,
    DeadlineExceeded,
    Hedging,
    Retries,
)
from megatick_client.hedging import FEWEST
from megatick_contract.rejections import Rejection, describe

if TYPE_CHECKING:
    from tests.client.conftest import MakeClient


class Halting(Endpoint):
    """Answers nothing inside ``with halted():``.

    Attributes:
        held: a call waits for the end of it.
        ended: it is answered, or its caller has not waited.
        waited: of each call that it went on with, whether its caller was still there.
    """

    def __init__(self) -> None:
        super().__init__()
        self.waited: list[bool] = []
        self.held, self.ended = threading.Event(), threading.Event()
        self._goes_on = threading.Event()
        self._goes_on.set()

    @contextmanager
    def halted(self) -> Iterator[None]:
        self._goes_on.clear()
        try:
            yield
        finally:
            self._goes_on.set()

    def check(self, texts: list[str], context: Any) -> None:
        if not self._goes_on.is_set():
            context.add_callback(self.ended.set)
            self.held.set()
            self._goes_on.wait()
            self.waited.append(context.is_active())


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serve(Endpoint(), threads=64) as endpoint:
        yield endpoint


def test_both_clients_have_the_same_calls_and_words() -> None:
    calls = {name for name in vars(Client) if not name.startswith("_")}

    assert "score" in calls
    for name in calls - {"batches"}:  # they run in threads of their own
        theirs = getattr(AsyncClient, name)
        assert theirs.__doc__ == getattr(Client, name).__doc__, name


def test_a_repr_shows_no_header(make_client: MakeClient) -> None:
    with make_client("h:1", headers={"authorization": "Bearer 5ecret"}) as client:
        assert "5ecret" not in f"{client!r} {client}"
        assert "h:1" in repr(client)


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({"Authorization": "x"}, "in lower case, .* found 'Authorization'"),
        ({"trace-bin": "x"}, "not ending in -bin, found 'trace-bin'"),
        ({"authorization": "5ecret\n"}, "authorization: expected printable ASCII"),
        (["authorization"], "expected a mapping, found list"),
    ],
)
def test_headers_that_grpc_would_not_send(headers: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        Client("h:1", headers=headers)

    assert "5ecret" not in str(refused.value)


def test_headers_are_asked_for_before_every_sending(
    make_client: MakeClient, endpoint: Endpoint
) -> None:
    tokens = iter(["one", "two"])

    with make_client(
        endpoint.address, headers=lambda: {"authorization": next(tokens)}
    ) as client:
        client.score("a")
        client.score("b")

    assert [each["authorization"] for each in endpoint.headers] == ["one", "two"]


def test_headers_that_run_out_end_no_call_well(
    make_client: MakeClient, endpoint: Endpoint
) -> None:
    """``StopIteration`` is how the rules of a call return their result."""
    tokens = iter(["one"])

    with make_client(
        endpoint.address, headers=lambda: {"authorization": next(tokens)}
    ) as client:
        assert client.score("+").score == 0.25
        with pytest.raises((StopIteration, RuntimeError)):
            client.score("+")


def test_a_forked_child_makes_its_own_connection(endpoint: Endpoint) -> None:
    with Client(endpoint.address) as client:
        ours = client.score("+").reply.request_id
        context = multiprocessing.get_context("fork")
        answers = context.SimpleQueue()

        def child() -> None:
            scored = client.score("++")
            answers.put((scored.score, scored.reply.request_id))

        process = context.Process(target=child)
        process.start()
        process.join(60)
        assert process.exitcode == 0
        score, theirs = answers.get()

        assert score == pytest.approx(0.4)
        assert theirs.split("-")[0] != ours.split("-")[0]
        assert client.score("+").score == 0.25


def test_a_forked_child_closes_none_of_its_parents_connections(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was forked off while a thread was opening one, and held the lock."""
    opening, goes_on = threading.Event(), threading.Event()
    insecure_channel = grpc.insecure_channel

    def slowly(*args: Any, **kwargs: Any) -> Any:
        opening.set()
        goes_on.wait()
        return insecure_channel(*args, **kwargs)

    monkeypatch.setattr(grpc, "insecure_channel", slowly)
    with Client(endpoint.address) as client, ThreadPoolExecutor(1) as thread:
        calling = thread.submit(client.score, "+")
        opening.wait()
        process = multiprocessing.get_context("fork").Process(target=client.close)
        process.start()
        process.join(20)
        exitcode = process.exitcode
        process.kill()
        goes_on.set()
        assert calling.result().score == 0.25
    assert exitcode == 0


def test_one_async_client_in_one_loop_after_another(endpoint: Endpoint) -> None:
    client = AsyncClient(endpoint.address)

    async def score() -> float:
        return (await client.score("+")).score

    assert [asyncio.run(score()) for _ in range(3)] == [0.25] * 3


def test_loops_that_run_at_once_keep_their_connections(endpoint: Endpoint) -> None:
    """Two threads' loops call in turn, and each connects once; closing ends both."""
    turn = threading.Barrier(2, timeout=30)

    async def score(first: bool) -> None:
        for its_own in (True, False) * 5:
            if its_own is first:
                assert (await client.score("+")).score == 0.25
            turn.wait()

    with proxy(endpoint.address) as counting, ThreadPoolExecutor(2) as threads:
        client = AsyncClient(counting.address, timeout_s=30)
        for each in [threads.submit(asyncio.run, score(n == 0)) for n in range(2)]:
            each.result()
        assert counting.connections == 2

    asyncio.run(client.close())


def test_closing_ends_the_calls_of_another_loop() -> None:
    async def score() -> None:
        with pytest.raises(ClientClosed):
            await client.score("a")

    with serve(Halting()) as endpoint, endpoint.halted(), ThreadPoolExecutor(1) as thread:
        client = AsyncClient(endpoint.address, timeout_s=60)
        calling = thread.submit(asyncio.run, score())
        endpoint.held.wait()
        asyncio.run(client.close())
        calling.result(30)


def test_many_tasks_share_a_client(endpoint: Endpoint) -> None:
    """Task i sends i plus signs, and gets its own i / (3 + i) back."""

    async def scores() -> list[float]:
        async with AsyncClient(endpoint.address, timeout_s=30) as client:
            found = await asyncio.gather(*(client.score("+" * i) for i in range(1, 500)))
        return [each.score for each in found]

    assert asyncio.run(scores()) == pytest.approx([i / (3 + i) for i in range(1, 500)])


def test_closing_ends_what_is_in_flight(make_client: MakeClient) -> None:
    told: list[bool] = []

    def close() -> None:
        endpoint.held.wait()
        client.close()
        told.append(endpoint.ended.wait(30))

    with (
        serve(Halting()) as endpoint,
        make_client(endpoint.address, timeout_s=60) as client,
        endpoint.halted(),
    ):
        closer = threading.Thread(target=close)
        closer.start()
        with pytest.raises(ClientClosed):
            client.score("a")
        closer.join()
        assert told == [True]


@pytest.mark.parametrize(
    ("timeout_s", "raised"),
    [
        pytest.param(60, asyncio.CancelledError, id="cancelled"),
        pytest.param(0.5, DeadlineExceeded, id="late"),
    ],
)
def test_a_call_that_nobody_waits_for_is_let_be(
    timeout_s: float, raised: type[BaseException]
) -> None:
    """The endpoint has its caller yet when it answers, long after the task has ended."""

    async def leave(endpoint: Halting) -> None:
        async with AsyncClient(endpoint.address, timeout_s=timeout_s) as client:
            with endpoint.halted():
                task = asyncio.create_task(client.score("a"))
                assert await asyncio.to_thread(endpoint.held.wait, 30)
                if raised is asyncio.CancelledError:
                    task.cancel()
                with pytest.raises(raised):
                    await task
                await asyncio.sleep(0.3)  # for a cancellation's way
            assert await asyncio.to_thread(endpoint.ended.wait, 30)

    with serve(Halting()) as endpoint:
        asyncio.run(leave(endpoint))
    assert endpoint.waited == [True]


def test_a_hedge_wins_over_a_server_that_stalls(make_client: MakeClient) -> None:
    """It stalls once the client knows how long a call takes, and until all have ended."""
    with (
        serve(Halting()) as stalls,
        serve(Endpoint()) as other,
        make_client(
            [stalls.address, other.address], hedging=Hedging(at_least_s=0.02), timeout_s=60
        ) as client,
    ):
        for _ in range(FEWEST):
            client.score("+")
        replies = []
        with stalls.halted():
            while not stalls.held.is_set():
                replies.append(client.score("+").reply)
            time.sleep(0.3)  # for a cancellation's way
        assert stalls.ended.wait(30)

    assert {reply.address for reply in replies} == {other.address}
    assert max(reply.attempts for reply in replies) == 2
    assert stalls.waited == [True]  # who lost was let be


def test_a_refusal_ends_a_race(make_client: MakeClient) -> None:
    """One server refuses once the other, which stalls, was asked as well, or before."""

    class Refusing(Endpoint):
        def check(self, texts: list[str], context: Any) -> None:
            if texts == ["bad"]:
                time.sleep(0.3)
                refusal = describe([Rejection(0, "TEXT", "is bad")], rows=1)
                context.abort(grpc.StatusCode.INVALID_ARGUMENT, refusal)

    with (
        serve(Halting()) as stalls,
        serve(Refusing()) as refuses,
        make_client([stalls.address, refuses.address], hedging=Hedging()) as client,
    ):
        for _ in range(FEWEST):
            client.score("+")
        with stalls.halted():
            for _ in range(2):  # whoever is asked first
                with pytest.raises(BadRequest, match="is bad"):
                    client.score("bad", timeout_s=4)


def test_a_server_that_goes_costs_no_call(make_client: MakeClient) -> None:
    with serve(Endpoint()) as stays:
        with serve(Endpoint()) as goes:
            client = make_client([goes.address, stays.address], timeout_s=20)
            client.__enter__()
            first = {client.score("+").reply.address for _ in range(4)}
            pool = ThreadPoolExecutor(16)
            running = pool.map(lambda _: client.score("+").score, range(800))
        try:
            assert first == {goes.address, stays.address}
            assert list(running) == [0.25] * 800
            assert client.score("+").reply.address == stays.address
        finally:
            pool.shutdown()
            client.__exit__(None, None, None)


def test_a_server_that_comes_back_gets_calls_again(make_client: MakeClient) -> None:
    with serve(Endpoint()) as stays:
        with serve(Endpoint()) as goes:
            port = int(goes.address.rpartition(":")[2])
        with make_client([goes.address, stays.address], timeout_s=20) as client:
            assert {client.score("+").reply.address for _ in range(4)} == {stays.address}
            with serve(Endpoint(), port=port):
                until(lambda: client.score("+").reply.address == goes.address)


def test_health_of_several_names_the_one_that_is_gone(make_client: MakeClient) -> None:
    with serve(Endpoint()) as stays:
        with serve(Endpoint()) as goes:
            pass
        with make_client([stays.address, goes.address]) as client:
            health = client.health()

            assert (health.live, health.ready) == (True, True)
            up, down = health.servers
            assert (up.address, up.problem) == (stays.address, "")
            assert not down.live
            assert "no server answers" in down.problem


def test_a_server_that_hangs_hides_no_other(make_client: MakeClient) -> None:
    """It takes half of the time.  On a busy machine the other one may be late as well, but
    not each time."""
    over = threading.Event()

    class Hung(Endpoint):
        def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
            over.wait()

        ServerReady = ServerLive

    with (
        serve(Hung()) as hangs,
        serve(Endpoint()) as stands,
        make_client([hangs.address, stands.address], timeout_s=4) as client,
    ):
        try:
            until(client.is_ready)
            until(lambda: [each.live for each in client.health().servers] == [False, True])
        finally:
            over.set()


def test_a_call_between_its_attempts_ends_with_its_client(make_client: MakeClient) -> None:
    patient = Retries(attempts=50, first_wait_s=0.2, longest_wait_s=0.2, budget=1000)
    with (
        serve(Endpoint(refuse=range(10_000))) as full,
        make_client(full.address, retries=patient, timeout_s=30) as client,
    ):
        closer = threading.Timer(0.3, client.close)
        closer.start()
        with pytest.raises(ClientClosed):
            client.score("a")
        closer.join()


def test_headers_that_fail_leave_no_server_out_for_ever(make_client: MakeClient) -> None:
    """The second server is ejected; the headers fail while it is probed, and once only."""
    failing = threading.Event()

    def headers() -> dict[str, str]:
        if failing.is_set():
            raise RuntimeError("no token")
        return {"authorization": "Bearer t"}

    with serve(Endpoint()) as stays:
        with serve(Endpoint()) as goes:
            port = int(goes.address.rpartition(":")[2])
        with make_client(
            [goes.address, stays.address], headers=headers, timeout_s=20
        ) as client:
            for _ in range(2):
                client.score("+")
            with serve(Endpoint(), port=port):
                time.sleep(1.1)
                failing.set()
                with pytest.raises(RuntimeError, match="no token"):
                    client.score("+")
                failing.clear()
                until(lambda: client.score("+").reply.address == goes.address)


@pytest.mark.triton
def test_where_a_result_comes_from(client: Client) -> None:
    several = client.score(["a"] * 40)

    (address,) = client.addresses
    ids = [row.reply.request_id for row in several]
    assert len(set(ids[:32])) == len(set(ids[32:])) == 1
    assert ids[0] != ids[32]
    reply = several[0].reply
    assert (reply.address, reply.model, reply.model_version) == (address, "sentiment", "1")
    assert 0 < reply.elapsed_s < 5
    assert (reply.attempts, dict(reply.stages_s), reply.model_digest) == (1, {}, "")


@pytest.mark.triton
def test_metadata_is_the_servers(client: Client) -> None:
    (server,) = client.metadata()

    assert (server.name, server.version) == ("triton", "2.51.0")
    assert "model_repository" in server.extensions


@pytest.mark.triton
def test_the_score_tolerance_is_the_servers(client: Client) -> None:
    assert client.score_tolerance() == 0.125  # the stand-in's, exact in float32


def test_a_server_without_the_output_states_no_score_tolerance(
    make_client: MakeClient,
) -> None:
    """Its metadata name no output at all, and it is asked nothing else."""

    class Older(Endpoint):
        def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            return service_pb2.ModelMetadataResponse(name=request.name)

    with serve(Older()) as endpoint, make_client(endpoint.address) as client:
        assert client.score_tolerance() is None
        assert endpoint.requests == []


@pytest.mark.triton
def test_warm_up_has_every_model_answer(client: Client) -> None:
    assert client.warm_up().ready
