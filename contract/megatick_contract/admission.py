"""Which requests go first, and the words that turn one away before it is computed.

Triton keeps ``priority`` and ``timeout`` to itself.  A step sees the second and not the
first, so the lane travels in a parameter of its own.
"""

from __future__ import annotations

from typing import Final, Literal, get_args

Priority = Literal["live", "backfill"]
"""``live`` rows are computed before any ``backfill`` row that waits."""

PRIORITIES: Final[tuple[Priority, ...]] = get_args(Priority)
DEFAULT_PRIORITY: Final[Priority] = "live"
PRIORITY_PARAMETER: Final = "lane"
"""The request parameter that carries a ``Priority``; absent means ``DEFAULT_PRIORITY``."""

QUEUE_FULL: Final = "Exceeds maximum queue size"
TIMEOUT_EXPIRED: Final = "Request timeout expired"
"""How a message about a request that was turned away begins, with status UNAVAILABLE.

They are Triton's own words for the same two things, so that any client can tell them, who
ever of the two says it.  Source: Triton core 2.51, ``scheduler_utils.cc``.
"""
