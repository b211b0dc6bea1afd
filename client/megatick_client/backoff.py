"""How long to keep away from a server, the more often it failed."""

from __future__ import annotations

from typing import Final

_MOST: Final = 30  # doublings: more are no float after some hours at a dead server


def doubled_s(first_s: float, times: int, *, longest_s: float) -> float:
    """Double a wait so many times, up to the longest; all in seconds.

    >>> [doubled_s(0.5, times, longest_s=3) for times in (0, 1, 2, 3, 10_000)]
    [0.5, 1.0, 2.0, 3, 3]
    """
    return min(first_s * 2.0 ** min(times, _MOST), longest_s)
