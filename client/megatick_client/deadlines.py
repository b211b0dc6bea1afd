"""One budget of time for a call, however many requests it takes."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from numbers import Real
from typing import Final

from megatick_client.errors import BadRequest

LONGEST_S: Final = 1e9
"""Thirty years: gRPC and Triton count in integers that end."""


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
            BadRequest: not a number of seconds above 0, and at most ``LONGEST_S``.
        """
        given: object = timeout_s  # not all callers check their types
        try:
            seconds = float(given) if isinstance(given, Real) else math.nan
        except OverflowError:  # an int beyond all floats
            seconds = math.inf
        if not 0 < seconds <= LONGEST_S:
            raise BadRequest(
                "timeout_s: expected a finite number of seconds > 0, at most "
                f"{LONGEST_S:g}, found {given!r:.40}"
            )
        return cls(seconds, time.monotonic() + seconds)

    def share(self, parts: int) -> Deadline:
        """The first of so many equal parts of what is left."""
        left_s = self.left_s() / parts
        return Deadline(self.timeout_s, time.monotonic() + left_s)

    def left_s(self) -> float:
        """Seconds left, never below 0."""
        return max(0.0, self.at_s - time.monotonic())
