"""One asynchronous HTTP client for every contender: closed loop and open loop.

The client shares the CPUs with the server, so it says what it cost.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import aiohttp
import numpy as np
import numpy.typing as npt

TIMEOUT_S: Final = 60.0


@dataclass(frozen=True)
class Wire:
    """How a contender is asked about one text.

    Attributes:
        path: of the URL.
        body: what is posted for a text.
        probabilities: what a reply says, by class.
    """

    path: str
    body: Callable[[str], Mapping[str, Any]]
    probabilities: Callable[[Any], Sequence[float]]


PLAIN: Final = Wire(
    "/classify", lambda text: {"text": text}, lambda reply: reply["probabilities"]
)
KSERVE: Final = Wire(
    "/v2/models/sentiment/infer",
    lambda text: {
        "inputs": [{"name": "TEXT", "shape": [1, 1], "datatype": "BYTES", "data": [text]}],
        "outputs": [{"name": "PROBABILITIES"}],
    },
    lambda reply: reply["outputs"][0]["data"],
)
"""Of Triton and MLServer alike, and so of Megatick."""


@dataclass(frozen=True)
class Calls:
    """What became of a run's calls.

    Attributes:
        seconds: the run's length.
        latencies_s: float64, of each answered call, in seconds: from its send in a closed
            loop, from when it was due in an open one.
        agreeing: answers with the expected label.
        failures: what went wrong, and how often.
        client_cpu_s: this process's CPU time.
    """

    seconds: float
    latencies_s: npt.NDArray[np.float64]
    agreeing: int
    failures: Mapping[str, int]
    client_cpu_s: float

    @property
    def answered(self) -> int:
        """Calls with an answer."""
        return len(self.latencies_s)

    @property
    def per_s(self) -> float:
        """Answers a second."""
        return self.answered / self.seconds

    def percentile_ms(self, percent: float) -> float:
        """A percentile of the latencies, in milliseconds; infinite if a call failed."""
        if self.failures or not self.answered:
            return float("inf")
        return float(1e3 * np.percentile(self.latencies_s, percent))


class Client:
    """Asks one contender, one text a call, in turn."""

    def __init__(
        self, url: str, wire: Wire, texts: Sequence[str], labels: Sequence[int]
    ) -> None:
        """Make every request before any clock runs.

        Args:
            url: of the server, without a path.
            wire: its own.
            texts: to ask about.
            labels: of each text, the class that is right.
        """
        self._url = url + wire.path
        self._wire = wire
        self._bodies = [json.dumps(wire.body(text)).encode() for text in texts]
        self._labels = labels

    async def ready(self, *, timeout_s: float, alive: Callable[[], bool]) -> None:
        """Wait for a first answer.

        Raises:
            TimeoutError: none came in time.
            ChildProcessError: the server is gone.
        """
        deadline_s = time.monotonic() + timeout_s
        async with _session() as session:
            while True:
                try:
                    await self._ask(session, 0)
                except (aiohttp.ClientError, TimeoutError) as error:
                    if not alive():
                        raise ChildProcessError(
                            f"the server for {self._url} ended before its first answer"
                        ) from error
                    if time.monotonic() > deadline_s:
                        raise TimeoutError(
                            f"{self._url}: no answer within {timeout_s:g} s: {error}"
                        ) from error
                    await asyncio.sleep(0.2)
                else:
                    return

    async def closed(self, concurrency: int, *, warm_s: float, window_s: float) -> Calls:
        """Keep ``concurrency`` calls in flight; count what is answered in the window.

        The window begins and ends with the last answer before its time.

        Raises:
            TimeoutError: nothing was answered in it.
        """
        record = _Record()
        numbers = itertools.count()
        opens_s = time.perf_counter() + warm_s
        closes_s = opens_s + window_s

        async def caller(session: aiohttp.ClientSession) -> None:
            while (sent_s := time.perf_counter()) < closes_s:
                await self._record(session, next(numbers), sent_s, record)

        async with _session() as session, asyncio.TaskGroup() as group:
            for _ in range(concurrency):
                group.create_task(caller(session))
            await asyncio.sleep(opens_s - time.perf_counter())
            cpu_s = time.process_time()
            await asyncio.sleep(closes_s - time.perf_counter())
            cpu_s = time.process_time() - cpu_s
        # Batches are answered at once: a window that cut through one would count it whole.
        first_s = record.last_answer_s(before_s=opens_s) or opens_s
        last_s = record.last_answer_s(before_s=closes_s) or opens_s
        if last_s <= first_s:
            raise TimeoutError(
                f"{self._url}: no answer to {concurrency} calls at a time within "
                f"{window_s:g} s, {len(record.failed)} failures: give a longer --window, "
                "or lower --concurrencies"
            )
        return record.within(first_s, last_s, cpu_s)

    async def open(self, due_s: npt.NDArray[np.float64]) -> Calls:
        """Send each call when it is due, whatever became of those before.

        Args:
            due_s: float64, rising, seconds from the start.
        """
        record = _Record()
        cpu_s = time.process_time()
        started_s = time.perf_counter()
        async with _session() as session, asyncio.TaskGroup() as group:
            for number, due in enumerate(due_s + started_s):
                await asyncio.sleep(max(0.0, due - time.perf_counter()))
                group.create_task(self._record(session, number, float(due), record))
        cpu_s = time.process_time() - cpu_s
        return record.within(started_s, time.perf_counter(), cpu_s)

    async def _record(
        self, session: aiohttp.ClientSession, number: int, from_s: float, record: _Record
    ) -> None:
        try:
            shares = await self._ask(session, number)
        except (aiohttp.ClientError, TimeoutError) as error:
            record.failed.append((time.perf_counter(), type(error).__name__))
            return
        ended_s = time.perf_counter()
        agrees = int(np.argmax(shares)) == self._labels[number % len(self._labels)]
        record.answered.append((ended_s, ended_s - from_s, agrees))

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> Sequence[float]:
        body = self._bodies[number % len(self._bodies)]
        async with session.post(self._url, data=body) as response:
            response.raise_for_status()
            return self._wire.probabilities(await response.json(content_type=None))


class _Record:
    """Calls as they end: (when, latency, agreement), and (when, error)."""

    def __init__(self) -> None:
        self.answered: list[tuple[float, float, bool]] = []
        self.failed: list[tuple[float, str]] = []

    def last_answer_s(self, *, before_s: float) -> float | None:
        """When the last answer before a time came."""
        return max((each[0] for each in self.answered if each[0] <= before_s), default=None)

    def within(self, opens_s: float, closes_s: float, client_cpu_s: float) -> Calls:
        """Sum up the calls that ended in a window."""
        answered = [each for each in self.answered if opens_s < each[0] <= closes_s]
        failures: dict[str, int] = {}
        for ended_s, name in self.failed:
            if opens_s < ended_s <= closes_s:
                failures[name] = failures.get(name, 0) + 1
        return Calls(
            closes_s - opens_s,
            np.array([latency_s for _, latency_s, _ in answered], np.float64),
            sum(agrees for _, _, agrees in answered),
            failures,
            client_cpu_s,
        )


def poisson(per_s: float, seconds: float, *, seed: int = 0) -> npt.NDArray[np.float64]:
    """Draw when calls are due: a Poisson process of ``per_s``, the same for a seed."""
    draw = np.random.default_rng(seed)
    gaps = draw.exponential(1 / per_s, size=int(2 * per_s * seconds) + 50)
    due = np.cumsum(gaps)
    within: npt.NDArray[np.float64] = due[due < seconds]
    return within


def _session() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        headers={"Content-Type": "application/json"},
    )
