"""The thread that keeps the engine busy: who is answered, with what, and when."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from megatick_contract.admission import Priority
from megatick_server import engine_loop
from megatick_server.engine_loop import EngineLoop
from megatick_server.errors import RequestDropped
from megatick_server.job import Job
from megatick_server.meters import Meters
from megatick_server.row_queue import HEADROOM, Limits

WAIT_S = 30.0


class Sums:
    """An engine whose answer is each row's sum; a 13 breaks its run.

    It waits before each run until it is let go.
    """

    def __init__(self) -> None:
        self.runs: list[list[int]] = []
        self.may_run = threading.Semaphore(0)
        self.running = threading.Semaphore(0)

    def run(
        self, rows: Sequence[npt.NDArray[np.int32]], wanted: Collection[str]
    ) -> dict[str, npt.NDArray[np.float32]]:
        self.running.release()
        assert self.may_run.acquire(timeout=WAIT_S)
        sums = [int(row.sum()) for row in rows]
        self.runs.append(sums)
        if 13 in sums:
            raise ZeroDivisionError("thirteen")
        return {name: np.array(sums, np.float32)[:, None] for name in wanted}


@pytest.fixture
def engine() -> Sums:
    return Sums()


@pytest.fixture
def meters() -> Meters:
    return Meters("sums")


@pytest.fixture
def loop(engine: Sums, meters: Meters) -> Iterator[EngineLoop]:
    loop = EngineLoop(engine, Limits(100, 100), warm_up=lambda: 1000.0, meters=meters)
    yield loop
    for _ in range(100):
        engine.may_run.release()
    loop.close()


@dataclass
class Clock:
    """The loop's own, which stands still but for the test."""

    now_s: float = 1000.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    mine = SimpleNamespace(monotonic=lambda: clock.now_s, perf_counter=time.perf_counter)
    monkeypatch.setattr(engine_loop, "time", mine)
    return clock


class Asked:
    """A job, and what it was answered."""

    def __init__(self, *sums: int, priority: Priority = "live", **more: Any) -> None:
        self._outcome: SimpleQueue[Any] = SimpleQueue()
        rows = [np.array([value - 1, 1], np.int32) for value in sums]
        self.job = Job(
            rows,
            frozenset({"logits"}),
            priority,
            lambda _, got: self._outcome.put(got),
            **more,
        )

    def outcome(self) -> Any:
        return self._outcome.get(timeout=WAIT_S)

    def sums(self) -> list[float]:
        outcome = self.outcome()
        return [float(value) for value in outcome["logits"][:, 0]]


def test_the_engine_is_warm_on_its_own_thread_before_the_first_request(
    engine: Sums, meters: Meters
) -> None:
    warmed: list[str] = []

    def warm_up() -> float:
        warmed.append(threading.current_thread().name)
        return 1000.0

    loop = EngineLoop(engine, Limits(100, 100), warm_up=warm_up, meters=meters)
    loop.close()

    assert warmed == ["engine"]


def test_an_engine_that_does_not_warm_up_is_told_to_whoever_starts_it(
    engine: Sums, meters: Meters
) -> None:
    with pytest.raises(ZeroDivisionError):
        EngineLoop(engine, Limits(100, 100), warm_up=lambda: 1 / 0, meters=meters)


def test_what_waits_while_the_engine_runs_is_run_together(
    loop: EngineLoop, engine: Sums
) -> None:
    first, second, third = Asked(3), Asked(4, 5), Asked(6)
    loop.submit(first.job)
    assert engine.running.acquire(timeout=WAIT_S)
    loop.submit(second.job)
    loop.submit(third.job)
    engine.may_run.release()
    assert first.sums() == [3]
    engine.may_run.release()

    assert second.sums() == [4, 5]
    assert third.sums() == [6]
    assert [sorted(run) for run in engine.runs] == [[3], [4, 5, 6]]
    assert second.job.started_s >= second.job.submitted_s
    assert second.job.engine_s > 0


def test_a_row_that_breaks_the_engine_fails_its_own_request_only(
    loop: EngineLoop, engine: Sums, caplog: pytest.LogCaptureFixture
) -> None:
    hold, bad, good = Asked(1), Asked(2, 13), Asked(4)
    loop.submit(hold.job)
    assert engine.running.acquire(timeout=WAIT_S)
    loop.submit(bad.job)
    loop.submit(good.job)
    for _ in range(4):  # hold; both together; each apart
        engine.may_run.release()

    assert isinstance(bad.outcome(), ZeroDivisionError)
    assert good.sums() == [4]
    assert "thirteen" in caplog.text


def test_an_expired_request_is_told_so_without_a_run(
    loop: EngineLoop, engine: Sums, clock: Clock
) -> None:
    hold, late = Asked(1), Asked(7, expires_s=clock.now_s + 0.2)
    loop.submit(hold.job)
    assert engine.running.acquire(timeout=WAIT_S)
    loop.submit(late.job)
    clock.now_s += 0.25
    engine.may_run.release()

    assert isinstance(late.outcome(), RequestDropped)
    assert [7] not in engine.runs


def test_the_estimate_of_the_wait_follows_the_engines_speed(
    loop: EngineLoop, engine: Sums, clock: Clock
) -> None:
    hold, waiting = Asked(1), Asked(*range(2, 12))  # 20 tokens
    loop.submit(hold.job)
    assert engine.running.acquire(timeout=WAIT_S)
    loop.submit(waiting.job)

    clock.now_s += 0.01  # by when the one token that runs should be done
    wait_s = HEADROOM * 20 / 1000
    loop.check("live", timeout_s=wait_s + 0.001)
    with pytest.raises(RequestDropped, match="left of the request's timeout"):
        loop.check("live", timeout_s=wait_s - 0.001)
    with pytest.raises(RequestDropped, match="left of the request's timeout"):
        loop.submit(Asked(*[1] * 5, expires_s=clock.now_s + wait_s + 0.001).job)


def test_closing_finishes_what_waits(loop: EngineLoop, engine: Sums) -> None:
    asked = [Asked(value) for value in (1, 2, 3)]
    for each in asked:
        loop.submit(each.job)
    for _ in range(3):
        engine.may_run.release()
    loop.close()

    assert [each.sums() for each in asked] == [[1], [2], [3]]


def test_runs_and_what_waits_are_counted(
    loop: EngineLoop, engine: Sums, meters: Meters
) -> None:
    def told(name: str) -> dict[str, float]:
        return {
            " ".join(value for _, value in each.labels[1:]): total
            for each, total in meters.totals().items()
            if each.name == f"megatick_{name}"
        }

    first, second, third = Asked(3), Asked(4, 5), Asked(6, priority="backfill")
    loop.submit(first.job)
    assert engine.running.acquire(timeout=WAIT_S)
    loop.submit(second.job)
    loop.submit(third.job)
    assert told("waiting_requests") == {"live": 1, "backfill": 1}
    assert told("waiting_tokens") == {"live": 4, "backfill": 2}  # 2 a row
    for _ in range(3):
        engine.may_run.release()
    third.sums()

    assert told("waiting_tokens") == {"live": 0, "backfill": 0}
    # Runs of 1, 2 and 1 rows, all of 2 tokens: nothing is padded.
    assert told("batch_rows_count") == {"": 3}
    assert told("batch_rows_sum") == {"": 4}
    assert told("batch_tokens_sum") == {"": 8}
    assert told("batch_tokens_bucket")["2"] == 2
    assert told("batch_seconds_count") == {"": 3}
    assert told("attention_padding_tokens_total") == {"": 0}


def test_attention_pads_a_run_to_its_longest_row(
    loop: EngineLoop, engine: Sums, meters: Meters
) -> None:
    answered: SimpleQueue[Any] = SimpleQueue()
    rows = [np.ones(length, np.int32) for length in (3, 4, 5)]
    wanted = frozenset({"logits"})
    loop.submit(Job(rows, wanted, "live", lambda _, got: answered.put(got)))
    engine.may_run.release()
    answered.get(timeout=WAIT_S)

    (padding,) = [
        total
        for each, total in meters.totals().items()
        if each.name == "megatick_attention_padding_tokens_total"
    ]
    assert padding == 3 * 5 - (3 + 4 + 5)
