"""Calls that must follow one another: each waits until those before it are done."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future

from megatick_client.deadlines import Deadline
from megatick_client.errors import DeadlineExceeded
from megatick_client.steps import Exchange, Wait


class Turns:
    """A queue of calls, in the order in which they came.

    Safe to share between threads, and between event loops.  Who came must leave, however
    its call ends.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._queue: deque[Future[None]] = deque()

    def come(self) -> Future[None]:
        """Stand at the end; what is returned is done once it is this one's turn."""
        place: Future[None] = Future()
        with self._lock:
            self._queue.append(place)
            self._call_first()
        return place

    def leave(self, place: Future[None]) -> None:
        """Make room, before or after one's turn."""
        with self._lock:
            self._queue.remove(place)
            self._call_first()

    def _call_first(self) -> None:
        if self._queue and not self._queue[0].done():
            self._queue[0].set_result(None)


def wait_for(place: Future[None], deadline: Deadline, what: str) -> Exchange[None]:
    """Wait for one's turn.

    Args:
        place: what ``Turns.come`` returned.
        deadline: of the call.
        what: of which queue, for the error.

    Raises:
        DeadlineExceeded: the turn does not come in time; nothing was sent.
    """
    if not place.done():
        yield Wait(place, deadline.left_s())
    if not place.done():
        raise DeadlineExceeded(
            f"{what}: the calls before this one took all of its {deadline.timeout_s:g} s.  "
            "Allow more with timeout_s, or send less at once."
        )
