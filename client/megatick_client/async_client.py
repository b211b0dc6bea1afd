"""``AsyncClient``: the same calls as ``Client``, each a coroutine."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any, Self, TypeVar, overload

import grpc  # type: ignore[import-untyped]

from megatick_client import calls, server_calls
from megatick_client.base import BaseClient
from megatick_client.channels import Channels
from megatick_client.sentiments import Sentiment
from megatick_client.steps import Outcome, Probe, Race, Send, Sleep, Step, Wait
from megatick_client.streams import (
    MAX_IN_FLIGHT,
    Carrier,
    ItemT,
    Sender,
    Source,
    Stream,
)
from megatick_client.surface import Call, awaited
from megatick_client.tls import Tls
from megatick_client.wire import MODEL_STREAM_INFER, flag_of

_LOG = logging.getLogger(__name__)

T = TypeVar("T")


class AsyncClient(BaseClient):
    """Connections to Megatick servers, for tasks of an event loop.

    Safe to share between tasks, and between event loops, each of which has connections of
    its own.  A task that is cancelled ends at once; the server is not told (``steps``).

        async with AsyncClient("127.0.0.1:8001", timeout_s=0.5) as client:
            news, fall = await asyncio.gather(
                client.score("Acme beats estimates"), client.forecast([101.0, 99.5])
            )
    """

    score = awaited(calls.score)
    explain = awaited(calls.explain)
    embed = awaited(calls.embed)
    forecast = awaited(calls.forecast)
    market_view = awaited(calls.market_view)
    health = awaited(server_calls.health)
    is_ready = awaited(server_calls.is_ready)
    models = awaited(server_calls.models)
    metadata = awaited(server_calls.metadata)
    score_tolerance = awaited(server_calls.score_tolerance)
    warm_up = awaited(server_calls.warm_up)

    async def close(self) -> None:
        """Drop the connections; calls in flight and later ones raise ``ClientClosed``."""
        self._closed = True
        here = asyncio.get_running_loop()
        for task in tuple(self._beside):
            if task.get_loop() is here:
                task.cancel()
            elif task.get_loop().is_running():
                task.get_loop().call_soon_threadsafe(task.cancel)
        for loop, channel in self._channels.drain():
            if loop is here:
                await channel.close()
            elif loop.is_running():  # else nobody awaits its calls
                loop.call_soon_threadsafe(loop.create_task, channel.close())

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def make(self, call: Call[T]) -> T:
        """Make a call that ``calls`` or ``server_calls`` describes."""
        return await self._make(call, self._send)

    @overload
    def stream(
        self, source: Source[str], *, ordered: bool = ..., max_in_flight: int = ...
    ) -> Stream[str, Sentiment]: ...
    @overload
    def stream(
        self,
        source: Source[ItemT],
        ask: Callable[[ItemT], Call[T]],
        *,
        ordered: bool = ...,
        max_in_flight: int = ...,
    ) -> Stream[ItemT, T]: ...
    def stream(
        self,
        source: Source[Any],
        ask: Callable[[Any], Call[Any]] = calls.score,
        *,
        ordered: bool = True,
        max_in_flight: int = MAX_IN_FLIGHT,
    ) -> Stream[Any, Any]:
        """Make a call of each item of a source, over one gRPC stream to a server.

            async with client.stream(headlines) as replies:
                async for reply in replies:
                    print(reply.position, reply.result or reply.error)

        An item that fails is a reply with its ``error``, and the stream goes on.  A stream
        that is lost is opened anew, or at another server, and what was in flight is sent
        again while its own timeout lasts; ``gaps`` tells.  Nothing is hedged.

        Args:
            source: items, from a plain iterable (which should not block) or an async
                one.  No more are taken than are in flight, so a slow loop slows it down.
            ask: what an item is asked: texts are scored.  For another call, or options:
                ``functools.partial(calls.score, truncation="tail")``, or
                ``lambda pair: calls.market_view(*pair)``, of ``megatick_client.calls``.
            ordered: replies come in the order of the items; else as they are ready, which
                differs among servers: on one stream Triton answers in the items' order.
            max_in_flight: items taken and not yet replied to, >= 1.

        Raises:
            BadRequest: an argument is no such thing.
            ClientClosed: while iterated, when the client is closed.
        """
        carrier = Carrier(
            self._line,
            self._open_stream,
            self._make,
            self._begin_beside,
            self._refuse_if_closed,
        )
        return Stream(carrier, source, ask, ordered=ordered, max_in_flight=max_in_flight)

    async def _make(self, call: Call[T], send: Sender) -> T:
        deadline = self._begin(call)
        exchange = call.exchange(self._line, deadline)
        outcome: Outcome | None = None
        try:
            while True:
                try:
                    step = exchange.send(outcome)
                except StopIteration as end:
                    result: T = end.value
                    return result
                outcome = await self._carry_out(step, send)
        finally:
            exchange.close()

    def _open_stream(self, address: str, requests: AsyncIterator[bytes]) -> Any:
        self._refuse_if_closed()
        method = self._channels.stream(address, MODEL_STREAM_INFER)
        return method(requests, metadata=self._metadata())

    def _make_channels(self, tls: Tls | None) -> Channels:
        self._beside: set[asyncio.Task[Any]] = set()
        self._calls: set[Any] = set()
        return Channels.awaiting(tls)

    def _begin_beside(self, coroutine: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Make a task that no call waits for, and that ends with the client."""
        task = asyncio.create_task(coroutine)
        self._beside.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(self._beside.discard)
        return task

    async def _carry_out(self, step: Step, send: Sender) -> Outcome | None:
        match step:
            case Send():
                return await send(step)
            case Race() if send == self._send:
                return await self._race(step)
            case Race():
                return await send(step.first)
            case Probe():
                self._probe(step.send)
            case Sleep():
                await asyncio.sleep(step.seconds)
            case Wait():
                # Not wait_for(), which would cancel what others wait for as well.
                await asyncio.wait(
                    (asyncio.wrap_future(step.done),), timeout=step.timeout_s
                )
        return None

    async def _send(self, send: Send) -> Outcome:
        """Send, and wait for the answer in time; who stops waiting lets the call be."""
        self._refuse_if_closed()  # while this call slept, or between two of its requests
        call = self._start(send)
        loop = asyncio.get_running_loop()
        # Not the call's own task: who awaits that and is cancelled cancels the call.
        ended = loop.create_future()
        call.add_done_callback(lambda _: _end(ended))
        late = loop.call_later(send.timeout_s, _end, ended)
        try:
            await ended
        finally:
            late.cancel()
        return await self._outcome(send, call) if call.done() else self._late(send)

    def _start(self, send: Send) -> Any:
        method = self._channels.method(send.endpoint.address, send.method)
        metadata = self._metadata()
        try:
            call = method(send.message, timeout=send.rpc_timeout_s, metadata=metadata)
        except grpc.aio.UsageError as error:  # how gRPC answers on a closed channel
            if not self._closed:
                raise
            raise self._use_after_close() from error
        self._calls.add(call)  # gRPC cancels one that nobody holds
        call.add_done_callback(self._calls.discard)
        return call

    async def _outcome(self, send: Send, call: Any) -> Outcome:
        try:
            return Outcome(send, await call, None)
        except grpc.RpcError as error:
            if self._closed:
                raise self._use_after_close() from error
            return self._failed(send, error)
        except asyncio.CancelledError as error:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise self._use_after_close() from error

    async def _race(self, race: Race) -> Outcome:
        first = asyncio.create_task(self._send(race.first))
        running = {first}
        try:
            await asyncio.wait(running, timeout=race.after_s)
            if first.done():
                return first.result()
            running.add(asyncio.create_task(self._send(race.second())))
            for ended in asyncio.as_completed(running):
                outcome = await ended
                if outcome.settles:
                    break
            return outcome
        finally:
            for task in running:
                task.cancel()

    def _probe(self, send: Send) -> None:
        async def probe() -> None:
            ready = False
            try:
                outcome = await self._send(send)
                ready = outcome.error is None and flag_of(outcome.answer)
            except Exception:  # noqa: BLE001  nobody waits; the next call itself will say so
                _LOG.debug("no probe of %s", send.endpoint.address, exc_info=True)
            finally:
                self._line.endpoints.probed(send.endpoint, ready=ready)

        self._begin_beside(probe())


def _end(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)
