"""``AsyncClient.stream``: a reply for each item of a source, over one gRPC stream a server.

Each item is a call by the same rules as any other (``megatick_client.attempts``); only the
bytes travel otherwise.  Triton answers on a stream in the order in which it is done, with
the id of the request, and tells an error by its message alone.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Coroutine,
    Iterable,
    Iterator,
)
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

import grpc  # type: ignore[import-untyped]

from megatick_client.attempts import Line
from megatick_client.endpoints import Endpoint
from megatick_client.errors import (
    BadRequest,
    ClientClosed,
    ClientError,
    ServerUnavailable,
)
from megatick_client.statuses import status_of_message, translate
from megatick_client.steps import Outcome, Send
from megatick_client.surface import Call
from megatick_client.wire import read_stream_answer, with_timeout

ItemT = TypeVar("ItemT")
ResultT = TypeVar("ResultT")

Source: TypeAlias = Iterable[ItemT] | AsyncIterable[ItemT]
Sender: TypeAlias = Callable[[Send], Awaitable[Outcome]]

MAX_IN_FLIGHT: Final = 64

_LOST: Final = frozenset({"CANCELLED", "INTERNAL", "UNKNOWN"})


@dataclass(frozen=True)
class StreamReply(Generic[ResultT]):
    """What became of one item: a result or an error.

    Attributes:
        position: of the item in its source, from 0; each is told once.
        result: what the item's call returned; None with an error.
        error: why there is no result, or None.
    """

    position: int
    result: ResultT | None
    error: ClientError | None = None


@dataclass(frozen=True)
class Gap:
    """A time without a stream to a server, which had one or should have.

    Attributes:
        address: ``HOST:PORT`` of the server.
        lost_utc: when it was lost.
        error: why.
        in_flight: items that waited for its answer; they are sent again.
        seconds: until it answered on another stream; None while it has not.
    """

    address: str
    lost_utc: datetime
    error: str
    in_flight: int
    seconds: float | None = None


@dataclass(frozen=True)
class Carrier:
    """What a stream needs of its client.

    Attributes:
        line: what all its calls share.
        open: opens a gRPC stream to an address: given an async iterator of requests, one
            of the answers' bytes.  Raises ``ClientClosed``.
        make: makes a call, with its requests sent so.
        begin: makes a task that is cancelled when the client is closed.
        refuse_if_closed: raises ``ClientClosed``.
    """

    line: Line
    open: Callable[[str, AsyncIterator[bytes]], Any]
    make: Callable[[Call[Any], Sender], Awaitable[Any]]
    begin: Callable[[Coroutine[Any, Any, None]], asyncio.Task[None]]
    refuse_if_closed: Callable[[], None]


class Stream(Generic[ItemT, ResultT]):
    """The replies to a source's items, to be iterated once.

    Break out of the loop, or cancel its task, and what is in flight is cancelled on the
    server; inside ``async with`` that is done before the block is left.

    Attributes:
        gaps: the times so far without a stream to a server.
    """

    def __init__(
        self,
        carrier: Carrier,
        source: Source[ItemT],
        ask: Callable[[ItemT], Call[ResultT]],
        *,
        ordered: bool,
        max_in_flight: int,
    ) -> None:
        if not (isinstance(max_in_flight, int) and max_in_flight >= 1):
            raise BadRequest(
                f"max_in_flight: expected an integer >= 1, found {max_in_flight!r:.40}"
            )
        if isinstance(source, str | bytes) or not isinstance(
            source, Iterable | AsyncIterable
        ):
            raise BadRequest(
                "source: expected an iterable of items, plain or async, found "
                f"{type(source).__name__}"
            )
        self._carrier = carrier
        self._source = source
        self._ask = ask
        self._ordered = ordered
        self._room = asyncio.Semaphore(max_in_flight)
        self._connections: dict[str, _Connection] = {}
        self._begun = self._entered = False
        self._replies: AsyncGenerator[StreamReply[ResultT], None] | None = None

    @property
    def gaps(self) -> tuple[Gap, ...]:
        """The times so far without a stream to a server."""
        gaps = [gap for each in self._connections.values() for gap in each.gaps]
        return tuple(sorted(gaps, key=lambda gap: gap.lost_utc))

    def __aiter__(self) -> AsyncIterator[StreamReply[ResultT]]:
        if self._begun:
            raise BadRequest("stream: it can be iterated once.  Ask for another one.")
        self._begun, replies = True, self._run()
        if self._entered:  # else nobody holds it but the loop, whose end is then its end
            self._replies = replies
        return replies

    async def __aenter__(self) -> Self:
        self._entered = True
        return self

    async def __aexit__(self, *error: object) -> None:
        if self._replies is not None:
            await self._replies.aclose()

    async def _run(self) -> AsyncGenerator[StreamReply[ResultT], None]:
        running: set[asyncio.Task[StreamReply[ResultT]]] = set()
        ready: asyncio.Queue[asyncio.Task[Any]] = asyncio.Queue()
        self._carrier.refuse_if_closed()
        pump = self._carrier.begin(self._pump(running, ready))
        pump.add_done_callback(ready.put_nowait)
        try:
            while (task := await ready.get()) is not pump:
                reply: StreamReply[ResultT] = await task
                running.discard(task)
                self._room.release()
                yield reply
            if pump.cancelled():
                self._carrier.refuse_if_closed()
            await pump  # raises what the source raised
        finally:
            pump.cancel()
            for task in running:
                task.cancel()
            held = [each.close() for each in self._connections.values()]
            await asyncio.gather(pump, *running, *held, return_exceptions=True)

    async def _pump(
        self,
        running: set[asyncio.Task[StreamReply[ResultT]]],
        ready: asyncio.Queue[asyncio.Task[Any]],
    ) -> None:
        """Take items from the source while there is room, and make a task of each."""
        try:
            async with aclosing(_each(self._source)) as items:
                for position in itertools.count():
                    await self._room.acquire()
                    try:
                        item = await anext(items)
                    except StopAsyncIteration:
                        return
                    task = asyncio.create_task(self._reply(position, item))
                    running.add(task)
                    if self._ordered:
                        ready.put_nowait(task)
                    else:
                        task.add_done_callback(ready.put_nowait)
        finally:
            if running:
                await asyncio.wait(running)

    async def _reply(self, position: int, item: ItemT) -> StreamReply[ResultT]:
        try:
            result = await self._carrier.make(self._ask(item), self._send)
        except ClientClosed:
            raise
        except ClientError as error:
            return StreamReply(position, None, error)
        return StreamReply(position, result)

    async def _send(self, send: Send) -> Outcome:
        connection = self._connections.get(send.endpoint.address)
        if connection is None:
            connection = _Connection(send.endpoint, self._carrier)
            self._connections[send.endpoint.address] = connection
        return await connection.send(send)


@dataclass(eq=False)
class _Waiting:
    """A request that was sent, or will be on the next stream."""

    send: Send
    until_s: float
    outcome: asyncio.Future[Outcome]


@dataclass(eq=False)
class _Connection:
    """One server's stream, and another one whenever it is lost.

    Attributes:
        endpoint: the server.
        carrier: the client.
        gaps: the times without a stream.
    """

    endpoint: Endpoint
    carrier: Carrier
    gaps: list[Gap] = field(default_factory=list)
    _waiting: dict[str, _Waiting] = field(default_factory=dict)
    _requests: asyncio.Queue[bytes | None] = field(default_factory=asyncio.Queue)
    _task: asyncio.Task[None] | None = None
    _lost: tuple[str, str] | None = None
    _lost_s: float = 0.0

    async def send(self, send: Send) -> Outcome:
        """Send a request, and wait for what becomes of it."""
        loop = asyncio.get_running_loop()
        until_s = time.monotonic() + send.timeout_s
        waiting = _Waiting(send, until_s, loop.create_future())
        self._waiting[send.request_id] = waiting
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._keep_open())
        else:
            self._requests.put_nowait(send.message)
        late = loop.call_later(send.timeout_s, self._too_late, waiting)
        try:
            return await waiting.outcome
        finally:
            late.cancel()
            if self._waiting.get(send.request_id) is waiting:
                del self._waiting[send.request_id]

    def _too_late(self, waiting: _Waiting) -> None:
        if not waiting.outcome.done():
            status, detail = self._lost or ("DEADLINE_EXCEEDED", "no answer on the stream")
            error = self._error(status, detail, waiting.send)
            waiting.outcome.set_result(Outcome(waiting.send, b"", error))

    async def close(self) -> None:
        """Cancel the stream, and with it what the server still has of it."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait((self._task,))

    async def _keep_open(self) -> None:
        """Hold one stream after another, until one is lost that nobody waits for."""
        line, losses = self.carrier.line, 0
        while True:
            try:
                status, detail = await self._hold()
            except Exception as failure:  # noqa: BLE001  closed, or a header's; theirs to see
                for waiting in self._all_waiting():
                    waiting.outcome.set_exception(failure)
                return
            if not self._waiting:
                return
            losses = losses + 1 if self._lost else 1
            error = self._error(status, detail)
            if self._lost is None:
                self._lost_s = time.monotonic()
                now, count = datetime.now(UTC), len(self._waiting)
                self.gaps.append(Gap(self.endpoint.address, now, str(error), count))
            self._lost = status, detail
            if (
                line.retries.attempts == 1
                or not isinstance(error, ServerUnavailable)
                or line.endpoints.another_than([self.endpoint])
            ):
                for waiting in self._all_waiting():
                    failed = self._error(status, detail, waiting.send)
                    waiting.outcome.set_result(Outcome(waiting.send, b"", failed))
                return
            await asyncio.sleep(line.retries.wait_s(losses, line.draw))

    def _all_waiting(self) -> Iterator[_Waiting]:
        """Whoever waits, for the last time."""
        while self._waiting:
            _, waiting = self._waiting.popitem()
            if not waiting.outcome.done():
                yield waiting

    async def _hold(self) -> tuple[str, str]:
        """Hold one stream until it ends.

        Triton tells on the stream what is wrong with a request.  So a stream that ends
        well, or by a failure, was lost: ``UNAVAILABLE``, whatever gRPC makes of a
        connection that breaks while it writes.

        Returns:
            Name of the gRPC status it ended with, and its message.
        """
        requests = self._requests = asyncio.Queue[bytes | None]()
        for waiting in self._waiting.values():
            left_s = waiting.until_s - time.monotonic()
            requests.put_nowait(with_timeout(waiting.send.message, left_s))
        try:
            answers = self.carrier.open(self.endpoint.address, _taken_from(requests))
            try:
                async for answer in answers:
                    self._answered(answer)
            finally:
                answers.cancel()
                requests.put_nowait(None)
        except grpc.RpcError as error:
            status, detail = error.code().name, error.details() or ""
            if status in _LOST:
                return "UNAVAILABLE", f"the stream was lost, {status}: {detail}"
            return status, detail
        except ValueError as error:  # an answer that is none
            return "DATA_LOSS", str(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return "UNAVAILABLE", "the connection was closed"  # by the client's close()
        return "UNAVAILABLE", "the server ended the stream"

    def _answered(self, message: bytes) -> None:
        if self._lost is not None:
            seconds = time.monotonic() - self._lost_s
            self.gaps[-1] = replace(self.gaps[-1], seconds=seconds)
            self._lost = None
        answer = read_stream_answer(message)
        waiting = self._waiting.get(answer.request_id)
        if waiting is None or waiting.outcome.done():
            return  # it came too late, or its caller is gone
        error = None
        if answer.error:
            status = status_of_message(answer.error)
            error = self._error(status, answer.error, waiting.send)
        waiting.outcome.set_result(Outcome(waiting.send, answer.message, error))

    def _error(self, status: str, detail: str, send: Send | None = None) -> ClientError:
        """What a status and its message mean, for a request or for the stream."""
        return translate(
            status,
            detail,
            address=self.endpoint.address,
            model=send.model if send else None,
            rows=send.rows if send else 0,
            timeout_s=send.budget_s if send else 0.0,
        )


async def _taken_from(requests: asyncio.Queue[bytes | None]) -> AsyncIterator[bytes]:
    """Requests up to None, without which grpcio's reader of them outlives a lost stream."""
    while (request := await requests.get()) is not None:
        yield request


async def _each(source: Source[ItemT]) -> AsyncGenerator[ItemT, None]:
    if isinstance(source, AsyncIterable):
        async for item in source:
            yield item
    else:
        for item in source:
            yield item
