"""When a failed call is sent again: what is safe, how soon, and how often in all."""

from __future__ import annotations

import random
import threading
from dataclasses import dataclass, field
from typing import Final

from megatick_client.backoff import doubled_s
from megatick_client.errors import (
    BadRequest,
    ClientError,
    ModelNotReady,
    Overloaded,
    ServerUnavailable,
)

_REPEATABLE: Final = (ServerUnavailable, Overloaded)


@dataclass(frozen=True)
class Retries:
    """How a call is repeated.

    Every call of a Megatick server is a pure function of what is sent, so that repeating
    one does nothing twice; but a server that fails on a request will fail on it again,
    and a call that is late has no time left.  So only these are repeated: a server that
    does not answer, and one whose queue is full.

    Attributes:
        attempts: sendings of one request in all, >= 1; 1 repeats nothing.
        first_wait_s: the longest wait before the second one, > 0; it doubles each time,
            and the wait itself is drawn evenly from 0 to it ("full jitter").
        longest_wait_s: where the doubling ends.
        budget: failures that the client's calls may have in hand before repeats stop, >=
            1: each failure takes one away, each good answer gives a tenth back, and
            nothing is repeated on at most half.  It keeps a fleet of clients from
            doubling the load of servers that fail because of it.  Source: gRFC A6.

    Raises:
        BadRequest: an attribute is out of its range.
    """

    attempts: int = 4
    first_wait_s: float = 0.05
    longest_wait_s: float = 1.0
    budget: int = 20

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, least in (("attempts", 1), ("budget", 1)):
            value = getattr(self, name)
            if not (isinstance(value, int) and value >= least):
                raise BadRequest(
                    f"retries: {name}: expected an integer >= {least}, found {value!r:.40}"
                )
        for name in ("first_wait_s", "longest_wait_s"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and 0 < value < float("inf")):
                raise BadRequest(
                    f"retries: {name}: expected seconds > 0, found {value!r:.40}"
                )

    def wait_s(self, attempt: int, draw: random.Random) -> float:
        """Draw the seconds to wait after the ``attempt``-th sending, from 1."""
        longest = doubled_s(self.first_wait_s, attempt - 1, longest_s=self.longest_wait_s)
        return draw.uniform(0, longest)


NO_RETRIES: Final = Retries(attempts=1)


@dataclass(eq=False)
class Budget:
    """The failures that a client has in hand.  Safe to share between threads.

    Attributes:
        most: where it begins, and where good answers bring it back to.
        left: in [0, most].
    """

    most: int
    left: float = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)

    PER_SUCCESS: Final = 0.1

    def __post_init__(self) -> None:
        """Begin with all of it."""
        self.left = float(self.most)

    def succeeded(self) -> None:
        """Give a little back."""
        if self.left < self.most:
            with self._lock:
                self.left = min(self.most, self.left + self.PER_SUCCESS)

    def failed(self) -> None:
        """Take one away."""
        with self._lock:
            self.left = max(0.0, self.left - 1)

    @property
    def allows(self) -> bool:
        """Whether more than half is left."""
        return self.left > self.most / 2


def may_repeat(error: ClientError, *, elsewhere: bool) -> bool:
    """Whether a call that failed so may be sent again.

    Args:
        error: how it failed.
        elsewhere: another server stands; a model that one lacks may be ready there.
    """
    return isinstance(error, _REPEATABLE) or (
        elsewhere and isinstance(error, ModelNotReady)
    )
