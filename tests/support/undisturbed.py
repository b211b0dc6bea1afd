"""Measurements of times that a test may only judge where the machine kept up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

T = TypeVar("T")

_BEAT_S: Final = 0.01
_TRIES: Final = 6


def undisturbed(measure: Callable[[], T], *, late_s: float = 0.04) -> T:
    """Measure again if meanwhile another thread was woken late, and so were those measured.

    Args:
        measure: takes a second or so.
        late_s: so much later than it was to be.

    Returns:
        The first measurement without that, or the last of several.
    """
    for _ in range(_TRIES):
        over, latest_s = threading.Event(), 0.0

        def beat(over: threading.Event = over) -> None:
            nonlocal latest_s
            begin_s = time.monotonic()
            while not over.wait(_BEAT_S):
                end_s = time.monotonic()
                latest_s = max(latest_s, end_s - begin_s - _BEAT_S)
                begin_s = end_s

        heart = threading.Thread(target=beat)
        heart.start()
        try:
            measured = measure()
        finally:
            over.set()
            heart.join()
        if latest_s < late_s:
            break
    return measured
