"""Texts and figures as the page writes them."""

from __future__ import annotations

import math
from typing import Final

_SHOWN_CHARACTERS: Final = 60


def shortened(text: str) -> str:
    """The beginning of a text, on one line.

    >>> shortened("a" * 70)[-3:], shortened("up  5 %")
    ('aa…', 'up 5 %')
    """
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"


def counted(count: int, noun: str) -> str:
    """A number of things.

    >>> counted(1, "symbol"), counted(2000, "text")
    ('1 symbol', '2,000 texts')
    """
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def decimals(gross: float) -> int:
    """How many decimals show a thousandth of so much money; none of 1,000 or more.

    >>> [decimals(gross) for gross in (20_000.0, 1000.0, 500.0, 0.5)]
    [0, 0, 1, 4]
    """
    return max(0, 3 - math.floor(math.log10(gross)))


def with_interval(
    value: float, interval: tuple[float, float] | None, *, digits: int
) -> str:
    """A figure with the ends of its interval; a dash for one that does not exist.

    >>> with_interval(0.5, (-0.1, 1.1), digits=1)
    '+0.5 (-0.1 to +1.1)'
    >>> with_interval(float("nan"), None, digits=1)
    '–'
    """
    if value != value:
        return "–"
    if interval is None:
        return f"{value:+.{digits}f}"
    low, high = interval
    return f"{value:+.{digits}f} ({low:+.{digits}f} to {high:+.{digits}f})"
