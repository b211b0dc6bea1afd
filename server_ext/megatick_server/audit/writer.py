"""The thread that writes a chain, so that no request waits for the one before it.

Records that wait together are written together, and each reply is given when its own
record is (or at once, where a lost record is no reason to withhold one).
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from megatick_server.audit.chain import Chain
from megatick_server.audit.settings import OnFailure
from megatick_server.errors import AuditError
from megatick_server.meters import Meters
from megatick_server.metrics import (
    AUDIT_LOST,
    AUDIT_RECORDS,
    AUDIT_WAITING,
    AUDIT_WRITE_SECONDS,
)

_LOG = logging.getLogger(__name__)

MOST_WAITING: Final = 4096
"""Records, as many as requests may wait for the engine (``row_queue.MAX_JOBS``)."""

_TOGETHER: Final = 256  # records in one writing

_AGAIN_S: Final = 0.1  # seconds until a disk that did not sync is asked again

Make: TypeAlias = Callable[[], Mapping[str, Any]]
Done: TypeAlias = Callable[[Exception | None], None]


class AuditWriter:
    """Writes what it is given, in that order.  Safe to share between threads."""

    def __init__(
        self,
        chain: Chain,
        *,
        on_failure: OnFailure,
        sync_s: float,
        meters: Meters,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        """Start the thread, and count in ``meters``; ``AuditSettings`` has the rest."""
        self._chain = chain
        self._closed_on_failure = on_failure == "refuse"
        self._sync_s = sync_s
        self._queue: queue.Queue[tuple[Make, Done] | None] = queue.Queue(most_waiting)
        self._meters = meters
        self._lost_reply = "refused" if self._closed_on_failure else "given"
        meters.add(AUDIT_RECORDS, 0)
        meters.add(AUDIT_LOST, 0, self._lost_reply)
        meters.mention(AUDIT_WRITE_SECONDS)
        self._writing = 0  # records that the thread has taken
        meters.watch(AUDIT_WAITING, lambda: self._queue.qsize() + self._writing)
        self._lost = 0
        self._lock = threading.Lock()
        self._failing = False
        self._synced_s = time.monotonic()
        self._unsynced = False
        self._thread = threading.Thread(target=self._work, name="audit", daemon=True)
        self._thread.start()

    def record(self, make: Make, done: Done) -> None:
        """Have a record written.

        Args:
            make: makes it, on the writer's thread.
            done: told once, on any thread, when the reply may be given, or why not.
        """
        try:
            if not self._thread.is_alive():
                raise AuditError(None, "the audit log's writer has ended")
            if self._closed_on_failure:
                self._queue.put_nowait((make, done))
            else:
                self._queue.put_nowait((make, _nobody))
        except (queue.Full, AuditError) as error:
            self._lose(1)
            full = isinstance(error, queue.Full)
            why = (
                AuditError(None, "too many replies wait for the audit log")
                if full
                else error
            )
            done(why if self._closed_on_failure else None)
            return
        if not self._closed_on_failure:
            done(None)

    def close(self) -> None:
        """Write what waits, end the chain, and the thread."""
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()

    def _work(self) -> None:
        closing = False
        while not closing:
            batch: list[tuple[Make, Done]] = []
            closing = self._take(batch)
            self._writing = len(batch)
            problem = self._written([make for make, _ in batch])
            self._writing = 0
            for _, done in batch:
                try:
                    done(problem)
                except Exception:  # noqa: BLE001 one reply that cannot be sent ends no other
                    _LOG.exception("a recorded reply could not be given")
        try:
            self._chain.close()
        except AuditError:
            _LOG.exception("the audit log could not be ended")

    def _take(self, batch: list[tuple[Make, Done]]) -> bool:
        """Wait for records, or until it is time to sync; whether it is to end."""
        try:
            wait_s = max(self._sync_s, _AGAIN_S) if self._unsynced else None
            given = self._queue.get(timeout=wait_s)
            while given is not None:
                batch.append(given)
                if len(batch) == _TOGETHER:
                    return False
                given = self._queue.get_nowait()
        except queue.Empty:
            return False
        return True

    def _written(self, makes: list[Make]) -> Exception | None:
        """Write records, and what was lost before them; why not, or None."""
        with self._lock:
            lost = 0 if self._closed_on_failure else self._lost
        started_s = time.perf_counter()
        try:
            records = [make() for make in makes]
            if lost and records:
                records.insert(0, {"kind": "lost", "count": lost})
            if records:
                self._chain.append(records)
                self._unsynced = True
            self._sync()
        except Exception as error:  # noqa: BLE001 whatever it is, the caller must hear of it
            self._lose(len(makes))
            if not self._failing:
                _LOG.exception("the audit log fails")
            self._failing = True
            return error
        if not makes:
            return None
        self._meters.observe(AUDIT_WRITE_SECONDS, time.perf_counter() - started_s)
        self._meters.add(AUDIT_RECORDS, len(makes))
        with self._lock:
            self._lost -= lost
        if self._failing:
            _LOG.warning("the audit log is written again")
            self._failing = False
        return None

    def _sync(self) -> None:
        due = time.monotonic() - self._synced_s >= self._sync_s
        if self._unsynced and due:
            self._chain.sync()
            self._unsynced, self._synced_s = False, time.monotonic()

    def _lose(self, count: int) -> None:
        self._meters.add(AUDIT_LOST, count, self._lost_reply)
        with self._lock:
            self._lost += count


def _nobody(problem: Exception | None) -> None:
    """Nobody waits for this record."""
