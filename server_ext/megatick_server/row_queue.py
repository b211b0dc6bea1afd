"""Rows that wait for the engine, and which of them run next.

Requests are taken apart into rows, so that one run holds rows of many requests, and a large
request that has time lets others run between its own runs.  No threads and no clock here:
the caller says what time it is.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from megatick_contract.admission import Priority
from megatick_contract.packing import choose_batch
from megatick_server.errors import RequestDropped
from megatick_server.job import Job

MAX_JOBS: Final = 4096
"""Requests that may wait, of both lanes together."""

CHOICE: Final = 2
"""A run's rows are chosen from so many times its tokens, where they wait."""

HEADROOM: Final = 1.4
"""What is expected to take a second is given so many: the engine's speed is an average, and
an answer must also be written and sent."""


@dataclass(frozen=True)
class Limits:
    """How much runs at once.

    Attributes:
        max_batch_tokens: most tokens in one run.
        max_backfill_tokens: the same of a run of backfill rows: a live row that comes
            while it runs waits no longer than that.
        max_jobs: requests that may wait.
    """

    max_batch_tokens: int
    max_backfill_tokens: int
    max_jobs: int = MAX_JOBS


@dataclass(frozen=True)
class Turn:
    """What the queue gave up.

    Attributes:
        run: some rows of each job, to be run together.
        dropped: jobs that are not worth computing any more, and why.
    """

    run: list[tuple[Job, list[int]]]
    dropped: list[tuple[Job, RequestDropped]]


@dataclass
class _Lane:
    """Jobs of one priority, in the order in which their rows run.

    Attributes:
        budget: most tokens in one run.
        jobs: those with a row that is in no run yet.
        tokens: of all such rows.
        large: those among them that give way after their next turn, if they have time.
    """

    budget: int
    jobs: deque[Job] = field(default_factory=deque)
    tokens: int = 0
    large: set[Job] = field(default_factory=set)

    def rest(self, job: Job) -> int:
        """Tokens of a job that are left when it gives way.

        Its next turn takes a run of them, and as many may fill the runs of others before.
        """
        return max(0, job.waiting_tokens - max(self.budget, job.longest) - self.budget)

    def measure(self, job: Job) -> None:
        """Say that a job gives way if its next turn leaves more than two runs of it.

        It does so then, whatever of it ran with others by that turn: who came meanwhile was
        told so.
        """
        if self.rest(job) > self.budget:
            self.large.add(job)
        else:
            self.large.discard(job)

    def forget(self, job: Job) -> None:
        """Count no row of a job that goes."""
        self.tokens -= job.waiting_tokens
        self.large.discard(job)

    def ahead(self, done_s: float) -> int:
        """Count the tokens that run before a job which comes now.

        Args:
            done_s: when all of them and that job are done; what is large and has so much
                time gives way to it.
        """
        return self.tokens - sum(
            self.rest(job) for job in self.large if done_s <= job.expires_s
        )

    def place(self, job: Job, ends_s: float, s_per_token: float) -> int:
        """Count the jobs that a large one lets run before its rest.

        Whoever comes last has no say in it: those before him were told that they need
        not wait for the rest.

        Args:
            job: the large one, which is not among the jobs just now.
            ends_s: the moment at which it is done, if it lets none.
            s_per_token: how long each token of theirs takes.
        """
        for place, other in enumerate(self.jobs):
            its_tokens = other.waiting_tokens
            if other in self.large and other.expires_s == np.inf:
                its_tokens -= self.rest(other)  # it lets this one run in turn
            ends_s += s_per_token * its_tokens
            if ends_s > job.expires_s:
                return place
        return len(self.jobs)


class RowQueue:
    """A bounded queue with two lanes.

    The oldest row of the live lane always runs next, with those behind it that
    ``choose_batch`` takes to fill the token budget.  Backfill runs when no live row waits.

    A request of more than two runs goes, after each run that begins with it, behind as many
    of those that wait as it has time for: one of 256 rows holds a headline up for a run,
    not for a dozen.
    """

    def __init__(self, limits: Limits) -> None:
        self._max_jobs = limits.max_jobs
        self._lanes: dict[Priority, _Lane] = {
            "live": _Lane(limits.max_batch_tokens),
            "backfill": _Lane(limits.max_backfill_tokens),
        }

    def __len__(self) -> int:
        return sum(len(lane.jobs) for lane in self._lanes.values())

    def waiting(self, priority: Priority) -> tuple[int, int]:
        """Count a lane's requests, and their tokens that are in no run yet."""
        lane = self._lanes[priority]
        return len(lane.jobs), lane.tokens

    def tokens_ahead(self, priority: Priority, done_s: float = np.inf) -> int:
        """Count the tokens that would run before a new row of this lane.

        Args:
            priority: the lane.
            done_s: when all of them and that row are done; what is large and has so much
                time gives way to it.
        """
        live, backfill = self._lanes["live"], self._lanes["backfill"]
        if priority == "live":
            return live.ahead(done_s)
        return live.tokens + backfill.ahead(np.inf)

    def check(
        self,
        priority: Priority,
        now_s: float,
        *,
        timeout_s: float,
        tokens_per_s: float,
        tokens: int = 0,
        busy_s: float = 0.0,
    ) -> None:
        """Turn a request away that could not be answered in time.

        One that finds nothing waiting and nothing running is always let in, whatever the
        speed is thought to be: its run is what corrects that.

        Args:
            priority: its lane.
            now_s: what time it is.
            timeout_s: how long its caller waits yet; infinite if he does not say.
            tokens_per_s: what the engine has been doing, > 0.
            tokens: its own, where they are counted already.
            busy_s: how long the run will take that goes on.

        Raises:
            RequestDropped: the queue is full, or too long for that deadline.
        """
        if len(self) >= self._max_jobs:
            raise RequestDropped("queue_full", f"{len(self)} requests wait already")
        whole = self._lanes[priority].budget + self.tokens_ahead(priority) + tokens
        done_s = now_s + busy_s + HEADROOM * whole / tokens_per_s
        ahead = self.tokens_ahead(priority, done_s)
        wait_s = busy_s + HEADROOM * (ahead + tokens) / tokens_per_s
        if wait_s > timeout_s and (ahead or busy_s):
            raise RequestDropped(
                "too_late",
                f"an answer would take about {wait_s:.3g} s, longer than the "
                f"{max(timeout_s, 0):.3g} s that are left of the request's timeout",
            )

    def add(self, job: Job, now_s: float) -> None:
        """Let a job wait for its turn."""
        job.submitted_s = now_s
        lane = self._lanes[job.priority]
        lane.jobs.append(job)
        lane.tokens += job.waiting_tokens
        lane.measure(job)

    def remove(self, job: Job) -> None:
        """Forget the rows of a job that still wait; it need not be here."""
        lane = self._lanes[job.priority]
        if job in lane.jobs:
            lane.jobs.remove(job)
            lane.forget(job)

    def next_turn(self, now_s: float, *, tokens_per_s: float = np.inf) -> Turn:
        """Take out the rows that run next, none if none waits.

        All rows of a run are answered at its end, so a run is cut so that it ends before
        the first of their deadlines.  Jobs that nobody waits for any more, or that cannot
        be answered in time while others can, come out too where they are met.

        Args:
            now_s: what time it is.
            tokens_per_s: what the engine has been doing, > 0.
        """
        turn = Turn([], [])
        for lane in self._lanes.values():
            if front := _front(lane, now_s, tokens_per_s, turn):
                _take(lane, front, now_s, turn)
                self._put_back(lane, front, now_s, tokens_per_s)
                break
        return turn

    def _put_back(
        self, lane: _Lane, front: list[Job], now_s: float, tokens_per_s: float
    ) -> None:
        """Let what still waits of them go on; a large oldest one goes behind others.

        Backfill waits for as long as live rows will come, so of it only what has no
        deadline gives way.
        """
        oldest, *others = front
        lane.jobs.extendleft(job for job in reversed(others) if job.waiting)
        if not oldest.waiting:
            return
        place = 0
        if oldest in lane.large:
            s_per_token = HEADROOM / tokens_per_s
            ends_s = now_s + s_per_token * (lane.budget + oldest.waiting_tokens)
            if lane is self._lanes["backfill"]:
                ends_s = np.inf
            place = lane.place(oldest, ends_s, s_per_token)
        lane.jobs.insert(place, oldest)
        lane.measure(oldest)


def _front(lane: _Lane, now_s: float, tokens_per_s: float, turn: Turn) -> list[Job]:
    """Take out a lane's oldest jobs, enough to choose a run from that ends in time."""
    jobs, budget = lane.jobs, lane.budget
    front: list[Job] = []
    tokens, until_s = 0, np.inf
    while jobs and tokens < CHOICE * budget:
        job = jobs[0]
        waited_s = job.waited_s + now_s - job.submitted_s
        reason = not_worth_it(
            waited_s=waited_s, left_s=job.expires_s - now_s, cancelled=job.cancelled
        )
        its_tokens = min(job.waiting_tokens, budget)
        ends_s = now_s + HEADROOM * min(tokens + its_tokens, budget) / tokens_per_s
        if reason is None and ends_s > min(until_s, job.expires_s):
            if front:
                break
            if now_s + its_tokens / tokens_per_s > job.expires_s and len(jobs) > 1:
                reason = _expired(waited_s)
        jobs.popleft()
        if reason is None:
            front.append(job)
            tokens += its_tokens
            until_s = min(until_s, job.expires_s)
        else:
            lane.forget(job)
            turn.dropped.append((job, reason))
    return front


def _take(lane: _Lane, front: list[Job], now_s: float, turn: Turn) -> None:
    """Start the rows that run with the oldest one."""
    places = [(job, row) for job in front for row in job.waiting]
    lengths = [len(job.rows[row]) for job, row in places]
    enough = 1 + np.searchsorted(np.cumsum(lengths), CHOICE * lane.budget)
    run: dict[Job, list[int]] = {}
    for index in choose_batch(lengths[:enough], max_batch_tokens=lane.budget):
        job, row = places[index]
        run.setdefault(job, []).append(row)
    for job, rows in run.items():
        for row in rows:
            job.start(row, now_s)
            lane.tokens -= len(job.rows[row])
        if not job.waiting:
            lane.forget(job)
    turn.run.extend(run.items())


def not_worth_it(
    *, waited_s: float, left_s: float, cancelled: Callable[[], bool]
) -> RequestDropped | None:
    """Say why a request is not worth computing any more, if so.

    Args:
        waited_s: how long it has waited.
        left_s: how long its caller waits yet; infinite if he does not say.
        cancelled: whether he has given up.
    """
    if left_s <= 0:
        return _expired(waited_s)
    if cancelled():
        return RequestDropped("cancelled", "its caller has cancelled it")
    return None


def _expired(waited_s: float) -> RequestDropped:
    return RequestDropped("expired", f"it waited {waited_s:.3g} s for its turn")
