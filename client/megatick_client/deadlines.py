"""One budget of time for a call, however many requests it takes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

from megatick_client.errors import BadRequest


@dataclass(frozen=True)
class Deadline:
    """The moment after which nobody waits for an answer.

    Attributes:
        timeout_s: the whole budget, in seconds, as the caller gave it.
        at_s: when it ends, in seconds of ``time.monotonic()``.
    """

    timeout_s: float
    at_s: float

    @classmethod
    def after(cls, timeout_s: float) -> Deadline:
        """Start the clock.

        Raises:
            BadRequest: not a finite number of seconds above 0.
        """
        if not (math.isfinite(timeout_s) and timeout_s > 0):
            raise BadRequest(
                f"timeout_s: expected a finite number of seconds > 0, found {timeout_s}"
            )
        return cls(timeout_s, time.monotonic() + timeout_s)

    def left_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at_s - time.monotonic())
