"""A second sending of a call that takes longer than nearly all before it."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from megatick_client.errors import BadRequest

SAMPLES: Final = 512
"""Of the latest answers, from which the percentile is read."""

FEWEST: Final = 32
"""Before so many answers nothing is hedged: a percentile of few says little."""


@dataclass(frozen=True)
class Hedging:
    """Whether, and after how long, a call is sent a second time.

    The first good answer counts, and the other call is let be on its server.  It costs
    the servers ``1 - percentile / 100`` more calls and buys a shorter tail where one server
    stalls while another does not.  Where all calls become slower at once, as in a burst of
    them, each is sent twice until the percentile has followed, or until failures have used
    up half of the retries' budget.

    Attributes:
        percentile: of the latest calls' times; a call that takes longer is sent again,
            to another server where one stands.  In [50, 100).
        at_least_s: no call is sent again sooner, >= 0.

    Raises:
        BadRequest: an attribute is out of its range.
    """

    percentile: float = 95.0
    at_least_s: float = 0.001

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name, expected, least, below in (
            ("percentile", "50 to below 100", 50, 100),
            ("at_least_s", "seconds >= 0", 0, float("inf")),
        ):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and least <= value < below):
                raise BadRequest(
                    f"hedging: {name}: expected {expected}, found {value!r:.40}"
                )


@dataclass(eq=False)
class Latencies:
    """How long the latest calls took, by model.  Safe to share between threads."""

    hedging: Hedging
    _seen: dict[tuple[str | None, int], deque[float]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def add(self, model: str | None, rows: int, seconds: float) -> None:
        """Count an answer that came."""
        with self._lock:
            seen = self._seen.setdefault(_kind(model, rows), deque(maxlen=SAMPLES))
            seen.append(seconds)

    def hedge_after_s(self, model: str | None, rows: int) -> float | None:
        """Seconds after which a call is sent again; None while too few were seen."""
        with self._lock:
            seen = self._seen.get(_kind(model, rows), ())
            if len(seen) < FEWEST:
                return None
            times = np.array(seen)
        percentile = float(np.percentile(times, self.hedging.percentile))
        return max(percentile, self.hedging.at_least_s)


def _kind(model: str | None, rows: int) -> tuple[str | None, int]:
    """Calls of about as many rows are alike: the same power of two."""
    return model, rows.bit_length()
