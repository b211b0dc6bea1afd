"""Sends calls when they are due, and waits for nothing but the clock.

One thread, one event loop, one or more connections.  The loop waits with ``select``,
which takes microseconds: epoll, the default, rounds every wait up to a millisecond, and
each call would leave up to that much late.
"""

from __future__ import annotations

import asyncio
import itertools
import selectors
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import grpc  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt

from megatick_client.base import Headers, metadata_of
from megatick_client.channels import Channels
from megatick_client.errors import ClientError
from megatick_client.load.schedule import FloatArray, Schedule
from megatick_client.statuses import translate
from megatick_client.steps import LET_BE_S
from megatick_client.tls import Tls
from megatick_client.wire import MODEL_INFER

T = TypeVar("T")

_LEAD_S: Final = 0.05
"""From the last preparation to the schedule's beginning."""


@dataclass(frozen=True, eq=False)
class Sent:
    """What the sender saw, one row a due call.

    Attributes:
        started_at_s: the schedule's beginning, in seconds since 1970.
        sent_s: float64, seconds from the beginning; NaN where the bound forbade it.
        done_s: float64, likewise.
        answers: int64, what ``keep`` made of the answer; -1 where there is none.
        errors: by the row of each failed call, the name of its error's class.
        examples: the first message of each class.
        most_in_flight: the most calls that waited for an answer at once.
    """

    started_at_s: float
    sent_s: FloatArray
    done_s: FloatArray
    answers: npt.NDArray[np.int64]
    errors: Mapping[int, str]
    examples: Mapping[str, str]
    most_in_flight: int


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run on a loop of its own whose clock is fine enough to send by."""

    def make_loop() -> asyncio.AbstractEventLoop:
        return asyncio.SelectorEventLoop(selectors.SelectSelector())

    with asyncio.Runner(loop_factory=make_loop) as runner:
        return runner.run(coroutine)


class Sender:
    """An asynchronous connection to one endpoint, for calls that are bytes already.

    Args:
        endpoint: ``HOST:PORT`` of a gRPC server that speaks KServe v2.
        model: its name, for the errors' messages.
        rows: of a call, likewise.
        timeout_s: seconds after which a call is given up, and let be as a client does, > 0.
        connections: TCP connections over which the calls are spread in turn, >= 1.
        tls: how the server is trusted; None talks in the clear.
        headers: sent with every call, as a client's are.

    Raises:
        BadRequest: a file of ``tls`` or a header is no such thing.
    """

    def __init__(
        self,
        endpoint: str,
        *,
        model: str,
        rows: int,
        timeout_s: float,
        connections: int,
        tls: Tls | None = None,
        headers: Headers | None = None,
    ) -> None:
        self.endpoint = endpoint
        self._model = model
        self._rows = rows
        self._timeout_s = timeout_s
        self._metadata = metadata_of(headers)
        self._connections = [Channels.awaiting(tls) for _ in range(connections)]
        self._turns = itertools.cycle(self._connections)
        self._unanswered: set[asyncio.Future[bytes]] = set()

    async def __aenter__(self) -> Sender:
        """Make the channels; they connect at their first call."""
        for each in self._connections:
            each.method(self.endpoint, MODEL_INFER)
        return self

    async def __aexit__(self, *error: object) -> None:
        """Close the channels; at a good end after the last call that was let be."""
        if self._unanswered and not any(error):
            await asyncio.wait(self._unanswered)
        for each in self._connections:
            for _, channel in each.drain():
                await channel.close()

    async def call(self, message: bytes) -> bytes:
        """Send one call and wait for its answer.

        Raises:
            ClientError: any class but those of the caller's own faults.
        """
        method = next(self._turns).method(self.endpoint, MODEL_INFER)
        sent = method(
            message, timeout=self._timeout_s + LET_BE_S, metadata=self._metadata()
        )
        answered: asyncio.Future[bytes] = asyncio.ensure_future(sent)
        self._unanswered.add(answered)
        answered.add_done_callback(self._ended)
        await asyncio.wait((answered,), timeout=self._timeout_s)
        if not answered.done():
            raise self._error("DEADLINE_EXCEEDED", "Deadline Exceeded")
        try:
            return answered.result()
        except grpc.aio.AioRpcError as error:
            raise self._error(error.code().name, error.details() or "") from None

    def _ended(self, answered: asyncio.Future[bytes]) -> None:
        self._unanswered.discard(answered)
        if not answered.cancelled():
            answered.exception()  # perhaps nobody waits for it

    def _error(self, status: str, detail: str) -> ClientError:
        return translate(
            status,
            detail,
            address=self.endpoint,
            model=self._model,
            rows=self._rows,
            timeout_s=self._timeout_s,
        )

    async def play(
        self,
        schedule: Schedule,
        messages: Sequence[bytes],
        *,
        keep: Callable[[int, bytes], int],
        max_in_flight: int,
    ) -> Sent:
        """Send message ``i % len(messages)`` at the schedule's start ``i``, come what may.

        A sender that is late sends at once.  A call that is due while ``max_in_flight``
        others wait for their answers is not sent, and is counted so.

        Args:
            schedule: when.
            messages: what, at least one.
            keep: takes a message's index and the answer to it; returns a number >= 0.
            max_in_flight: >= 1.
        """
        calls = len(schedule)
        sent_s, done_s = np.full(calls, np.nan), np.full(calls, np.nan)
        answers = np.full(calls, -1)
        errors: dict[int, str] = {}
        examples: dict[str, str] = {}
        in_flight: set[asyncio.Task[None]] = set()
        most = 0
        begin_s, started_at_s = time.perf_counter() + _LEAD_S, time.time() + _LEAD_S

        async def one(row: int) -> None:
            number = row % len(messages)
            sent_s[row] = time.perf_counter() - begin_s
            try:
                answer = await self.call(messages[number])
            except ClientError as error:
                done_s[row] = time.perf_counter() - begin_s
                errors[row] = type(error).__name__
                examples.setdefault(errors[row], str(error))
            else:
                done_s[row] = time.perf_counter() - begin_s
                answers[row] = keep(number, answer)

        for row, due_s in enumerate(schedule.starts_s.tolist()):
            # A late sender still yields, or no answer would be read while it catches up.
            await asyncio.sleep(max(0.0, begin_s + due_s - time.perf_counter()))
            if len(in_flight) >= max_in_flight:
                continue
            task = asyncio.create_task(one(row))
            in_flight.add(task)
            task.add_done_callback(in_flight.discard)
            most = max(most, len(in_flight))
        await asyncio.gather(*in_flight)
        return Sent(started_at_s, sent_s, done_s, answers, errors, examples, most)
