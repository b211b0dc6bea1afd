"""How a refused request lists its bad rows, in words that people and the SDK read.

Triton carries one message and one status with a refusal.  The message is

    2 bad values in 5 rows: [row 1, TEXT] is blank; ... [row 3, PRICES] has no price

One server writes it and every client can read it: ``describe`` and ``parse`` are each
other's inverse on the list of rejections.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_SEPARATOR: Final = "; "
_ITEM: Final = re.compile(r"\[row (?P<row>\d+), (?P<field>[A-Z_]+)\] (?P<problem>.*)")
_LISTING: Final = re.compile(r"\d+ bad values? in \d+ rows?: (?P<items>\[row .*)", re.S)


@dataclass(frozen=True)
class Rejection:
    """One bad value of a request.

    Attributes:
        row: its row in the request, from 0.
        field: the input tensor's name.
        problem: what was expected, what was found, what to do; one line.
    """

    row: int
    field: str
    problem: str


def describe(rejections: Sequence[Rejection], *, rows: int) -> str:
    """Write the message of a request that is refused for these values.

    >>> describe([Rejection(1, "TEXT", "is blank")], rows=2)
    '1 bad value in 2 rows: [row 1, TEXT] is blank'
    """
    count = f"{len(rejections)} bad value{'s' if len(rejections) > 1 else ''}"
    items = (f"[row {r.row}, {r.field}] {_flat(r.problem)}" for r in rejections)
    listing = _SEPARATOR.join(items)
    return f"{count} in {rows} row{'s' if rows > 1 else ''}: {listing}"


def parse(message: str) -> tuple[Rejection, ...]:
    """Read the rejections back from a message; empty when it lists none.

    >>> parse("in ensemble 'x', 1 bad value in 2 rows: [row 1, TEXT] is blank")
    (Rejection(row=1, field='TEXT', problem='is blank'),)
    """
    listing = _LISTING.search(message)
    if listing is None:
        return ()
    items = re.split(r"; (?=\[row \d+, [A-Z_]+\] )", listing["items"])
    matches = (_ITEM.fullmatch(item) for item in items)
    return tuple(
        Rejection(int(match["row"]), match["field"], match["problem"])
        for match in matches
        if match is not None
    )


def _flat(problem: str) -> str:
    """Keep a problem on one line and free of the listing's own marks."""
    return re.sub(r"\s+", " ", problem).replace("; [row", ", [row")
