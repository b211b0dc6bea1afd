"""``AsyncClient.stream`` against a real Triton, at times through a line that can be cut."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from held import Held

from megatick_client import (
    NO_RETRIES,
    AsyncClient,
    BadRequest,
    ClientClosed,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    Retries,
    Sentiment,
    ServerError,
    ServerUnavailable,
    calls,
)
from megatick_client.streams import StreamReply

pytestmark = pytest.mark.triton


class Line:
    """Carries bytes between a client and a server, and can be cut."""

    def __init__(self, to: str) -> None:
        self._to = to
        self._ends: set[asyncio.StreamWriter] = set()

    async def open(self, port: int = 0) -> str:
        self._server = await asyncio.start_server(self._join, "127.0.0.1", port)
        self.port = self._server.sockets[0].getsockname()[1]
        return f"127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Lose every connection; another one may be made."""
        for end in self._ends:
            end.transport.abort()

    def shut(self) -> None:
        """Lose every connection, and take no other."""
        self._server.close()
        self.cut()

    async def _join(self, reader: asyncio.StreamReader, writer: Any) -> None:
        host, port = self._to.rsplit(":", 1)
        their_reader, their_writer = await asyncio.open_connection(host, int(port))
        self._ends |= {writer, their_writer}
        with suppress(OSError):
            await asyncio.gather(_carry(reader, their_writer), _carry(their_reader, writer))


async def _carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(1 << 16):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()


@asynccontextmanager
async def line_to(address: str) -> AsyncIterator[tuple[Line, str]]:
    line = Line(address)
    try:
        yield line, await line.open()
    finally:
        line.shut()


def signs(count: int) -> list[str]:
    """Text i has i plus signs, and scores i / (3 + i)."""
    return ["+" * i or "0" for i in range(count)]


def assert_scored(replies: list[StreamReply[Sentiment]]) -> None:
    assert [reply.position for reply in replies] == list(range(len(replies)))
    assert [reply.error for reply in replies] == [None] * len(replies)
    scores = [reply.result.score for reply in replies if reply.result]
    expected = [i / (3 + i) for i in range(len(replies))]
    assert scores == pytest.approx(expected, rel=1e-6)


def test_a_reply_for_each_text(address: str) -> None:
    async def run() -> list[StreamReply[Sentiment]]:
        async with AsyncClient(address) as client:
            stream = client.stream(signs(300))
            replies = [reply async for reply in stream]
            assert stream.gaps == ()
            return replies

    assert_scored(asyncio.run(run()))


@pytest.mark.parametrize(
    ("ordered", "positions"),
    [pytest.param(True, [0, 1], id="ordered"), pytest.param(False, [1, 0], id="as-ready")],
)
def test_order(
    address: str,
    address_of_sentiment: str,
    held: Held,
    ordered: bool,
    positions: list[int],
) -> None:
    """One server stands still over the first text while another scores the second."""

    async def run() -> list[int]:
        found = []
        async with AsyncClient([address, address_of_sentiment], timeout_s=30) as client:
            if ordered:  # time enough for the second to be told, were it not held back
                asyncio.get_running_loop().call_later(0.5, held.let_go)
            async for reply in client.stream([held.text, "b"], ordered=ordered):
                found.append(reply.position)
                held.let_go()
        return found

    assert asyncio.run(run()) == positions


def test_one_stream_answers_in_its_order(address: str) -> None:
    """Triton does, even where another model is done before: that is why a stream a server
    suits calls that take as long as one another."""

    def ask(text: str) -> Any:
        return calls.embed(text) if text.startswith("sleep") else calls.score(text)

    async def run() -> list[int]:
        async with AsyncClient(address) as client:
            stream = client.stream(["sleep 0.3", "b"], ask, ordered=False)
            return [reply.position async for reply in stream]

    assert asyncio.run(run()) == [0, 1]


def test_an_item_that_fails_is_told_and_the_stream_goes_on(address: str) -> None:
    texts: list[Any] = ["a", " ", "crash", None, "b"]

    async def run() -> list[StreamReply[Sentiment]]:
        async with AsyncClient(address) as client:
            return [reply async for reply in client.stream(texts)]

    replies = asyncio.run(run())

    errors = [type(reply.error) for reply in replies]
    assert errors == [type(None), BadRequest, ServerError, BadRequest, type(None)]
    blank = replies[1].error
    assert isinstance(blank, BadRequest)
    assert [(bad.row, bad.field) for bad in blank.rejections] == [(0, "TEXT")]
    assert "told to crash" in str(replies[2].error)
    assert replies[4].result is not None


def test_a_model_that_is_not_there(address_of_sentiment: str) -> None:
    async def run() -> list[StreamReply[Any]]:
        async with AsyncClient(address_of_sentiment) as client:
            return [reply async for reply in client.stream(["a"], calls.embed)]

    (reply,) = asyncio.run(run())
    assert isinstance(reply.error, ModelNotReady)


def test_a_full_queue_is_told_from_other_failures(address: str, held: Held) -> None:
    """The stand-in's ``market_view`` queues 40 requests, and stands still over one more."""

    async def run() -> list[StreamReply[Any]]:
        async with AsyncClient(address, retries=NO_RETRIES, timeout_s=30) as client:
            ask = partial(calls.market_view, prices=[1.0])
            stream = client.stream([held.text] * 48, ask)
            asyncio.get_running_loop().call_later(5, held.let_go)
            return [reply async for reply in stream]

    errors = {type(reply.error) for reply in asyncio.run(run())}
    assert errors == {type(None), Overloaded}


def test_a_full_queue_is_sent_to_again(address: str, held: Held) -> None:
    async def run() -> list[StreamReply[Any]]:
        retries = Retries(attempts=1000, longest_wait_s=0.1, budget=10_000)
        async with AsyncClient(address, retries=retries, timeout_s=30) as client:
            ask = partial(calls.market_view, prices=[1.0])
            stream = client.stream([held.text] * 48, ask)
            asyncio.get_running_loop().call_later(5, held.let_go)
            return [reply async for reply in stream]

    replies = asyncio.run(run())
    assert [reply.error for reply in replies] == [None] * 48
    assert max(reply.result.reply.attempts for reply in replies if reply.result) > 1


def test_an_item_that_is_late_is_told_at_its_deadline(address: str, held: Held) -> None:
    """The server answers neither before the caller has given up."""

    async def run() -> list[StreamReply[Any]]:
        async with AsyncClient(address) as client:
            ask = partial(calls.score, timeout_s=0.3)
            return [reply async for reply in client.stream([held.text, "a"], ask)]

    begin_s = time.monotonic()
    replies = asyncio.run(run())

    assert time.monotonic() - begin_s < 4  # a client's own is five seconds
    assert [type(reply.error) for reply in replies] == [DeadlineExceeded] * 2


def test_a_slow_loop_slows_the_source_down(address: str) -> None:
    """And once it stands still for longer than a call may take."""
    taken = 0

    async def source() -> AsyncIterator[str]:
        nonlocal taken
        for text in signs(40):
            taken += 1
            yield text

    async def run() -> tuple[list[StreamReply[Sentiment]], list[int]]:
        replies, ahead = [], []
        async with AsyncClient(address, timeout_s=4) as client:
            stream = client.stream(source(), max_in_flight=4)
            async for reply in stream:
                await asyncio.sleep(4.5 if reply.position == 10 else 0.005)
                replies.append(reply)
                ahead.append(taken - reply.position)
            assert stream.gaps == ()
        return replies, ahead

    replies, ahead = asyncio.run(run())
    assert len(replies) == 40
    assert_scored(replies)
    assert max(ahead) == 5  # the one in hand, and four in flight


def test_what_was_in_flight_when_the_line_was_cut_is_sent_again(address: str) -> None:
    async def run() -> list[StreamReply[Sentiment]]:
        async with (
            line_to(address) as (line, at),
            AsyncClient(at, timeout_s=10) as client,
        ):
            stream = client.stream(["0", *signs(200)[1:]], max_in_flight=20)
            replies = []
            async for reply in stream:
                replies.append(reply)
                if reply.position in (30, 120):
                    line.cut()
            assert len(stream.gaps) == 2
            for gap in stream.gaps:
                assert gap.address == at
                assert 1 <= gap.in_flight <= 20
                assert gap.seconds is not None
                assert "no server answers" in gap.error
            return replies

    assert_scored(asyncio.run(run()))


def test_a_lost_stream_leaves_nothing_behind(address: str) -> None:
    """It is lost while grpcio waits for a request, of a source that takes its time."""

    async def run() -> list[str]:
        told: list[str] = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, context: told.append(context["message"]))
        async with (
            line_to(address) as (line, at),
            AsyncClient(at, timeout_s=10) as client,
        ):

            async def source() -> AsyncIterator[str]:
                yield "+"
                await cut.wait()
                await asyncio.sleep(0.2)  # for the news of it
                yield "++"

            cut = asyncio.Event()
            async for _ in client.stream(source()):
                line.cut()
                cut.set()
            gc.collect()
            await asyncio.sleep(0.1)
        return told

    # "Task was destroyed but it is pending!"; the line of this test tells of callbacks
    assert [each for each in asyncio.run(run()) if each.startswith("Task ")] == []


def test_a_server_that_comes_back_is_waited_for(address: str) -> None:
    async def run() -> list[StreamReply[Sentiment]]:
        async with (
            line_to(address) as (line, at),
            AsyncClient(at, timeout_s=30) as client,
        ):
            again = Line(address)

            async def come_back() -> None:
                while not stream.gaps:
                    await asyncio.sleep(0.01)
                await asyncio.sleep(0.7)
                await again.open(line.port)

            stream, replies, back = client.stream(signs(60), max_in_flight=8), [], None
            async for reply in stream:
                replies.append(reply)
                if reply.position == 20:
                    line.shut()
                    back = asyncio.create_task(come_back())
            (gap,) = stream.gaps
            assert back is not None
            assert gap.seconds is not None
            assert 0.5 < gap.seconds < 30
            again.shut()
            return replies

    assert_scored(asyncio.run(run()))


def test_another_server_takes_over(address: str, address_of_sentiment: str) -> None:
    async def run() -> list[StreamReply[Sentiment]]:
        async with (
            line_to(address) as (line, at),
            AsyncClient([at, address_of_sentiment]) as client,
        ):
            replies = []
            async for reply in client.stream(signs(200), max_in_flight=16):
                replies.append(reply)
                if reply.position == 50:
                    line.shut()
            return replies

    replies = asyncio.run(run())
    assert_scored(replies)
    servers = {reply.result.reply.address for reply in replies[-50:] if reply.result}
    assert servers == {address_of_sentiment}


def test_without_retries_what_was_in_flight_is_an_error(address: str, held: Held) -> None:
    async def run() -> list[StreamReply[Sentiment]]:
        async with (
            line_to(address) as (line, at),
            AsyncClient(at, retries=NO_RETRIES, timeout_s=30) as client,
        ):

            async def cut() -> None:
                await asyncio.to_thread(held.wait)
                line.cut()

            cutting = asyncio.create_task(cut())
            stream = client.stream([held.text], max_in_flight=1)
            replies = [reply async for reply in stream]
            await cutting
            return replies

    (reply,) = asyncio.run(run())
    assert isinstance(reply.error, ServerUnavailable)


def test_nobody_there_is_told_of_every_item() -> None:
    async def run() -> list[StreamReply[Sentiment]]:
        async with AsyncClient("127.0.0.1:1", timeout_s=3) as client:
            return [reply async for reply in client.stream(["a", "b"])]

    replies = asyncio.run(asyncio.wait_for(run(), 30))

    assert [type(reply.error) for reply in replies] == [ServerUnavailable] * 2
    assert "Connection refused" in str(replies[0].error)


@pytest.mark.parametrize("leave", ["break", "cancel", "aexit"])
def test_leaving_cancels_on_the_server(
    address: str, held: Held, leave: str, tmp_path: Path
) -> None:
    """The model stands still over one text, and five more wait in its queue: it never reads
    them.  (What waits behind an ensemble, Triton 2.51 does not cancel by itself.)"""
    queued = [Held(tmp_path / str(number)) for number in range(5)]
    for each in queued:
        each.let_go()
    answered, sent = asyncio.Event(), asyncio.Event()

    async def texts() -> AsyncIterator[str]:
        yield "a"
        await answered.wait()  # or the model may read both at once
        yield held.text
        await asyncio.to_thread(held.wait)
        for each in queued:
            yield each.text
        sent.set()

    async def all_sent() -> None:
        answered.set()
        await sent.wait()
        await asyncio.sleep(0.3)  # for their way to the server

    async def read(client: AsyncClient) -> None:
        async with client.stream(texts(), calls.embed) as replies:
            async for _ in replies:
                await all_sent()
                if leave == "aexit":
                    break

    async def run() -> None:
        async with AsyncClient(address, timeout_s=60) as client:
            await client.embed("a")
            if leave == "break":
                async for _ in client.stream(texts(), calls.embed):
                    await all_sent()
                    break
            elif leave == "cancel":
                reading = asyncio.create_task(read(client))
                await sent.wait()
                await asyncio.sleep(0.5)  # it waits for the next reply
                reading.cancel()
                with suppress(asyncio.CancelledError):
                    await reading
            else:
                await read(client)
            await asyncio.sleep(0.5)  # for the cancellation's way
            held.let_go()
            await client.embed("a")  # once all that waited before it is done

    asyncio.run(run())
    assert not any(each.begun for each in queued)


async def silent(ended: list[bool]) -> AsyncIterator[str]:
    """Give one text, and then nothing until it is closed, which is noted."""
    try:
        yield "a"
        await asyncio.Event().wait()
    finally:
        ended.append(True)


def test_leaving_ends_a_silent_source(address: str) -> None:
    ended: list[bool] = []

    async def run() -> None:
        async with AsyncClient(address) as client, client.stream(silent(ended)) as replies:
            async for _ in replies:
                break

    asyncio.run(asyncio.wait_for(run(), 30))
    assert ended == [True]


def test_a_server_that_answers_nonsense() -> None:
    class Foreign(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, _: Any) -> Any:
            return grpc.stream_stream_rpc_method_handler(lambda *_: iter([b"\xff"]))

    server = grpc.server(ThreadPoolExecutor(1), handlers=[Foreign()])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()

    async def run() -> list[StreamReply[Sentiment]]:
        async with AsyncClient(f"127.0.0.1:{port}") as client:
            return [reply async for reply in client.stream(["a"])]

    try:
        (reply,) = asyncio.run(run())
    finally:
        server.stop(grace=None).wait()
    assert isinstance(reply.error, ServerError)
    assert "no ModelStreamInferResponse" in str(reply.error)


def test_what_the_source_raises_comes_after_the_replies_before_it(address: str) -> None:
    def source() -> Iterator[str]:
        yield from signs(3)
        raise OSError("the feed is gone")

    async def run() -> None:
        async with AsyncClient(address) as client:
            async for reply in client.stream(source(), ordered=False):
                positions.add(reply.position)

    positions: set[int] = set()
    with pytest.raises(OSError, match="the feed is gone"):
        asyncio.run(run())
    assert positions == {0, 1, 2}


def test_close_ends_it(address: str, held: Held) -> None:
    answered = asyncio.Event()

    async def texts() -> AsyncIterator[str]:
        yield "a"
        await answered.wait()  # or the model may read both at once
        yield held.text
        yield "b"

    async def run() -> None:
        async with AsyncClient(address, timeout_s=60) as client:
            async for _ in client.stream(texts()):
                answered.set()
                await asyncio.to_thread(held.wait)
                await client.close()

    with pytest.raises(ClientClosed):
        asyncio.run(run())


def test_close_ends_one_whose_source_is_silent(address: str) -> None:
    ended: list[bool] = []

    async def read(client: AsyncClient, answered: asyncio.Event) -> None:
        async for _ in client.stream(silent(ended)):
            answered.set()

    async def run() -> None:
        client, answered = AsyncClient(address), asyncio.Event()
        reading = asyncio.create_task(read(client, answered))
        await answered.wait()
        await client.close()
        with pytest.raises(ClientClosed):
            await reading
        with pytest.raises(ClientClosed):
            await read(client, answered)  # one that begins after it

    asyncio.run(asyncio.wait_for(run(), 30))
    assert ended == [True]


def test_what_is_no_source_or_limit(address: str) -> None:
    async def run() -> None:
        async with AsyncClient(address) as client:
            with pytest.raises(BadRequest, match=r"expected an iterable of items.*str"):
                client.stream("one text")
            with pytest.raises(BadRequest, match="integer >= 1, found 0"):
                client.stream([], max_in_flight=0)
            stream = client.stream([])
            assert [reply async for reply in stream] == []
            with pytest.raises(BadRequest, match="iterated once"):
                aiter(stream)

    asyncio.run(run())
