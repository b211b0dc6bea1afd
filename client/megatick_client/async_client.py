"""``AsyncClient``: the same calls as ``Client``, each a coroutine."""

from __future__ import annotations

import asyncio
from typing import Self, TypeVar

import grpc  # type: ignore[import-untyped]

from megatick_client import calls
from megatick_client.base import BaseClient
from megatick_client.channels import Channels
from megatick_client.steps import Outcome, Probe, Race, Send, Sleep, Step, Wait
from megatick_client.surface import Call, awaited
from megatick_client.tls import Tls
from megatick_client.wire import flag_of

T = TypeVar("T")


class AsyncClient(BaseClient):
    """Connections to Megatick servers, for tasks of an event loop.

    Safe to share between tasks.  A task that is cancelled cancels its call on the server.

        async with AsyncClient("127.0.0.1:8001", timeout_s=0.5) as client:
            news, fall = await asyncio.gather(
                client.score("Acme beats estimates"), client.forecast([101.0, 99.5])
            )
    """

    score = awaited(calls.score)
    embed = awaited(calls.embed)
    forecast = awaited(calls.forecast)
    market_view = awaited(calls.market_view)
    health = awaited(calls.health)
    is_ready = awaited(calls.is_ready)
    models = awaited(calls.models)
    metadata = awaited(calls.metadata)
    warm_up = awaited(calls.warm_up)

    async def close(self) -> None:
        """Drop the connections; calls in flight and later ones raise ``ClientClosed``."""
        self._closed = True
        for probe in tuple(self._probes):
            probe.cancel()
        for channel in self._channels.drain():
            await channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *error: object) -> None:
        await self.close()

    async def make(self, call: Call[T]) -> T:
        """Make a call that ``megatick_client.calls`` describes."""
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
                outcome = await self._carry_out(step)
        finally:
            exchange.close()

    def _make_channels(self, tls: Tls | None) -> Channels:
        self._probes: set[asyncio.Task[None]] = set()
        return Channels(
            tls,
            plain=grpc.aio.insecure_channel,
            secure=grpc.aio.secure_channel,
            place=asyncio.get_running_loop,
        )

    async def _carry_out(self, step: Step) -> Outcome | None:
        match step:
            case Send():
                return await self._send(step)
            case Race():
                return await self._race(step)
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
        method = self._channels.method(send.endpoint.address, send.method)
        try:
            answer = await method(
                send.message, timeout=send.timeout_s, metadata=self._metadata()
            )
        except grpc.RpcError as error:
            if self._closed:
                raise self._use_after_close() from error
            return self._failed(send, error)
        except (asyncio.CancelledError, grpc.aio.UsageError) as error:
            task = asyncio.current_task()
            if not self._closed or (task is not None and task.cancelling()):
                raise
            raise self._use_after_close() from error
        return Outcome(send, answer, None)

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
                if outcome.error is None:
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
            finally:
                self._line.endpoints.probed(send.endpoint, ready=ready)

        task = asyncio.create_task(probe())
        self._probes.add(task)  # the loop itself keeps no hold of it
        task.add_done_callback(self._probes.discard)
