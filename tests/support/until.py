"""Waiting for a state, however long a busy machine takes to come to it."""

from __future__ import annotations

import time
from collections.abc import Callable


def until(happened: Callable[[], object], *, within_s: float = 60) -> None:
    """Look again and again; fail only after far longer than it can take."""
    end_s = time.monotonic() + within_s
    while not happened():
        assert time.monotonic() < end_s, "what was waited for never happened"
        time.sleep(0.01)
