"""One thread that keeps the engine busy with whatever waits."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from megatick_contract.admission import PRIORITIES, Priority
from megatick_server.job import Float32Array, Job
from megatick_server.meters import Meters
from megatick_server.metrics import (
    ATTENTION_PADDING_TOKENS,
    BATCH_ROWS,
    BATCH_SECONDS,
    BATCH_TOKENS,
    WAITING_REQUESTS,
    WAITING_TOKENS,
)
from megatick_server.row_queue import Limits, RowQueue, Turn

_LOG = logging.getLogger(__name__)

_NEWEST: Final = 0.2
"""Weight of the newest run in the average speed."""


class RowEngine(Protocol):
    """What runs rows of tokens together."""

    def run(
        self, rows: Sequence[npt.NDArray[np.int32]], wanted: Collection[str]
    ) -> dict[str, Float32Array]:
        """Run them once; each output's first axis is the rows'."""
        ...


class EngineLoop:
    """Runs the rows of a ``RowQueue``, and finishes each job as its last row is done.

    While more of them wait, jobs are finished on another thread: the engine never waits
    for an answer to be written.
    """

    def __init__(
        self,
        engine: RowEngine,
        limits: Limits,
        *,
        warm_up: Callable[[], float],
        meters: Meters,
    ) -> None:
        """Start the thread, and wait until the engine is warm on it.

        Args:
            engine: runs them, on this thread alone.
            limits: how much at once.
            warm_up: runs the engine for the first time, on the thread that will run it:
                what an engine prepares for one thread is of no use to another.  Gives its
                speed in tokens a second, > 0; what it raises is raised here.
            meters: count the runs, and what waits for one.
        """
        self._engine = engine
        self._queue = RowQueue(limits)
        self._run_ends_s = -np.inf  # by that speed, in the monotonic clock's seconds
        self._meters = meters
        meters.mention(BATCH_SECONDS, BATCH_TOKENS, BATCH_ROWS, ATTENTION_PADDING_TOKENS)
        for lane in PRIORITIES:
            meters.watch(WAITING_REQUESTS, partial(self._waiting_requests, lane), lane)
            meters.watch(WAITING_TOKENS, partial(self._waiting_tokens, lane), lane)
        self._changed = threading.Condition()
        self._closing = False
        self._finisher = ThreadPoolExecutor(1, thread_name_prefix="finish")
        warm: Future[float] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(warm_up, warm), name="engine", daemon=True
        )
        self._thread.start()
        self._tokens_per_s = warm.result()

    def check(self, priority: Priority, *, timeout_s: float) -> None:
        """Turn a request away at once that could not be answered in time.

        Raises:
            RequestDropped: see ``RowQueue.check``.
        """
        with self._changed:
            self._check(priority, timeout_s, 0, time.monotonic())

    def submit(self, job: Job) -> None:
        """Let a job wait for its turn; ``job.finish`` is called on another thread.

        Raises:
            RequestDropped: see ``RowQueue.check``, by its own tokens.
        """
        with self._changed:
            now_s = time.monotonic()
            timeout_s = job.expires_s - now_s
            self._check(job.priority, timeout_s, job.waiting_tokens, now_s)
            self._queue.add(job, now_s)
            self._changed.notify()

    def _check(
        self, priority: Priority, timeout_s: float, tokens: int, now_s: float
    ) -> None:
        self._queue.check(
            priority,
            now_s,
            timeout_s=timeout_s,
            tokens_per_s=self._tokens_per_s,
            tokens=tokens,
            busy_s=max(0.0, self._run_ends_s - now_s),
        )

    def _waiting_requests(self, lane: Priority) -> int:
        with self._changed:
            return self._queue.waiting(lane)[0]

    def _waiting_tokens(self, lane: Priority) -> int:
        with self._changed:
            return self._queue.waiting(lane)[1]

    def close(self) -> None:
        """Finish what waits, then end the threads."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self._thread.join()
        self._finisher.shutdown()

    def _work(self, warm_up: Callable[[], float], warm: Future[float]) -> None:
        try:
            warm.set_result(warm_up())
        except Exception as error:  # noqa: BLE001 whoever starts this thread must hear of it
            warm.set_exception(error)
            return
        while (turn := self._next_turn()) is not None:
            for job, reason in turn.dropped:
                self._finish(job, reason)
            if turn.run:
                self._run(turn)

    def _next_turn(self) -> Turn | None:
        with self._changed:
            while not len(self._queue):
                if self._closing:
                    return None
                self._changed.wait()
            now_s = time.monotonic()
            turn = self._queue.next_turn(now_s, tokens_per_s=self._tokens_per_s)
            tokens = sum(len(job.rows[row]) for job, rows in turn.run for row in rows)
            self._run_ends_s = now_s + tokens / self._tokens_per_s
            return turn

    def _run(self, turn: Turn) -> None:
        rows = [job.rows[row] for job, of_job in turn.run for row in of_job]
        wanted = {name for job, _ in turn.run for name in job.wanted}
        started_s = time.perf_counter()
        try:
            outputs = self._engine.run(rows, wanted)
        except Exception as error:  # noqa: BLE001 whatever it is, the others go on
            self._run_apart(turn, error)
            return
        elapsed_s = time.perf_counter() - started_s
        lengths = [len(row) for row in rows]
        newest = sum(lengths) / elapsed_s
        self._tokens_per_s += _NEWEST * (newest - self._tokens_per_s)
        self._count_run(lengths, elapsed_s)
        first = 0
        for job, of_job in turn.run:
            part = slice(first, first + len(of_job))
            first += len(of_job)
            job.engine_s += elapsed_s
            job.take(of_job, {name: every[part] for name, every in outputs.items()})
            if job.done:
                self._finish(job, job.results)

    def _count_run(self, lengths: Sequence[int], elapsed_s: float) -> None:
        tokens = sum(lengths)
        self._meters.observe(BATCH_SECONDS, elapsed_s)
        self._meters.observe(BATCH_TOKENS, float(tokens))
        self._meters.observe(BATCH_ROWS, float(len(lengths)))
        in_attention = len(lengths) * max(lengths)
        self._meters.add(ATTENTION_PADDING_TOKENS, in_attention - tokens)

    def _run_apart(self, turn: Turn, error: Exception) -> None:
        """One job may have broken the run: each runs alone, and only that one fails."""
        if len(turn.run) == 1:
            job, _ = turn.run[0]
            _LOG.error("the engine failed on a request", exc_info=error)
            with self._changed:
                self._queue.remove(job)
            self._finish(job, error)
            return
        for each in turn.run:
            self._run(Turn([each], []))

    def _finish(self, job: Job, outcome: dict[str, Float32Array] | Exception) -> None:
        if len(self._queue):
            self._finisher.submit(_finish, job.finish, job, outcome)
        else:
            _finish(job.finish, job, outcome)


def _finish(
    finish: Callable[[Job, dict[str, Float32Array] | Exception], None],
    job: Job,
    outcome: dict[str, Float32Array] | Exception,
) -> None:
    try:
        finish(job, outcome)
    except Exception:  # noqa: BLE001 the engine goes on
        _LOG.exception("a request could not be answered")
