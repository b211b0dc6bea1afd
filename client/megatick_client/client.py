"""``Client``: texts and prices in, typed results out, by calls that wait."""

from __future__ import annotations

import os
import queue
import time
from concurrent import futures
from typing import TYPE_CHECKING, Any, Self, TypeVar

import grpc  # type: ignore[import-untyped]

from megatick_client import calls, server_calls
from megatick_client.base import BaseClient
from megatick_client.channels import Channels
from megatick_client.steps import Outcome, Probe, Race, Send, Sleep, Step, Wait
from megatick_client.surface import Call, blocking
from megatick_client.tls import Tls
from megatick_client.wire import flag_of

if TYPE_CHECKING:
    from megatick_client.batches import Batches

T = TypeVar("T")


class Client(BaseClient):
    """Connections to Megatick servers, for threads.

    Safe to share between threads, and usable in a process that was forked off while no
    thread was calling: gRPC is not made for a fork beside its calls, and the child may die
    of it (start processes by "spawn").  It connects at the first call, keeps the
    connection, and makes a lost one anew.

        with Client("127.0.0.1:8001", timeout_s=0.5) as client:
            news = client.score(["Acme beats estimates", "Acme recalls its flagship"])
            news.to_frame()
    """

    score = blocking(calls.score)
    explain = blocking(calls.explain)
    embed = blocking(calls.embed)
    forecast = blocking(calls.forecast)
    market_view = blocking(calls.market_view)
    health = blocking(server_calls.health)
    is_ready = blocking(server_calls.is_ready)
    models = blocking(server_calls.models)
    metadata = blocking(server_calls.metadata)
    score_tolerance = blocking(server_calls.score_tolerance)
    warm_up = blocking(server_calls.warm_up)

    @property
    def batches(self) -> Batches:
        """Score files and frames of any size, see ``megatick_client.batches``."""
        from megatick_client.batches import Batches  # it loads pyarrow

        return Batches(self)

    def close(self) -> None:
        """Drop the connections; calls in flight and later ones raise ``ClientClosed``."""
        self._closed = True
        if self._process == os.getpid():  # else they are its parent's
            for _, channel in self._channels.drain():
                channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def make(self, call: Call[T]) -> T:
        """Make a call that ``calls`` or ``server_calls`` describes."""
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
                outcome = self._carry_out(step)
        finally:
            exchange.close()

    def _make_channels(self, tls: Tls | None) -> Channels:
        return Channels.blocking(tls)

    def _carry_out(self, step: Step) -> Outcome | None:
        match step:
            case Send():
                return self._send(step)
            case Race():
                return self._race(step)
            case Probe():
                self._probe(step.send)
            case Sleep():
                time.sleep(step.seconds)
            case Wait():
                futures.wait((step.done,), step.timeout_s)
        return None

    def _send(self, send: Send) -> Outcome:
        self._refuse_if_closed()  # while this call slept, or between two of its requests
        method = self._channels.method(send.endpoint.address, send.method)
        try:
            answer = method(send.message, timeout=send.timeout_s, metadata=self._metadata())
        except grpc.RpcError as error:
            if self._closed:
                raise self._use_after_close() from error
            return self._failed(send, error)
        except ValueError as error:  # how gRPC answers on a closed channel
            if not self._closed:
                raise
            raise self._use_after_close() from error
        return Outcome(send, answer, None)

    def _race(self, race: Race) -> Outcome:
        """Who loses is let be, and so is who is late."""
        ended: queue.SimpleQueue[tuple[Send, Any]] = queue.SimpleQueue()
        end_s = time.monotonic() + race.first.timeout_s

        def start(send: Send) -> None:
            future = self._future(send)
            future.add_done_callback(lambda future: ended.put((send, future)))

        def next_outcome(last: Send) -> Outcome:
            left_s = max(0.0, end_s - time.monotonic())
            try:
                return self._outcome(*ended.get(timeout=left_s))
            except queue.Empty:
                return self._late(last)

        start(race.first)
        try:
            return self._outcome(
                *ended.get(timeout=min(race.after_s, race.first.timeout_s))
            )
        except queue.Empty:
            if time.monotonic() >= end_s:
                return self._late(race.first)
        second = race.second()
        start(second)
        outcome = next_outcome(second)
        return outcome if outcome.settles else next_outcome(second)

    def _probe(self, send: Send) -> None:
        def told(future: Any) -> None:
            ready = False
            try:
                good = future.code() is grpc.StatusCode.OK
                ready = good and flag_of(future.result())
            finally:
                self._line.endpoints.probed(send.endpoint, ready=ready)

        try:
            future = self._future(send)
        except Exception:  # noqa: BLE001  such as the headers'; the call itself will say so
            self._line.endpoints.probed(send.endpoint, ready=False)
        else:
            future.add_done_callback(told)

    def _future(self, send: Send) -> Any:
        self._refuse_if_closed()
        method = self._channels.method(send.endpoint.address, send.method)
        try:
            return method.future(
                send.message, timeout=send.rpc_timeout_s, metadata=self._metadata()
            )
        except ValueError as error:
            if not self._closed:
                raise
            raise self._use_after_close() from error

    def _outcome(self, send: Send, future: Any) -> Outcome:
        if self._closed:
            raise self._use_after_close()
        if future.code() is grpc.StatusCode.OK:
            return Outcome(send, future.result(), None)
        return self._failed(send, future)
