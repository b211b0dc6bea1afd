"""How a refused request lists its bad rows, in words that people and the SDK read.

Triton carries one message and one status with a refusal.  The message is

    2 bad values in 5 rows: [row 1, TEXT] is blank; [row 3, PRICES] has no price

and rows with the same problem share it:

    64 bad values in 64 rows: [rows 0-2,4-64, TEXT] is blank

One server writes it and every client can read it: ``parse`` gives back what ``describe``
was given, in the order of rows and fields, as far as the message has room for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

MAX_MESSAGE_BYTES: Final = 6 * 1024
"""The longest message, as gRPC sends it.

gRPC's clients may drop a reply whose headers exceed 8 KiB, and its status with them;
beside the message, Triton and gRPC send less than 1 KiB.  Source: gRPC core's
``GRPC_ARG_MAX_METADATA_SIZE``.
"""

_MAX_PROBLEM_CHARACTERS: Final = 400
"""A character is at most 12 bytes as sent, so one problem always fits in a message, beside
the longest list that 256 rows make (under 1 KiB)."""

_SEPARATOR: Final = "; "
_ITEM: Final = re.compile(
    r"\[rows? (?P<rows>[\d,-]+), (?P<field>[A-Z_]+)\] (?P<problem>.*)", re.S
)
_SPAN: Final = re.compile(r"(?P<first>\d{1,9})(?:-(?P<last>\d{1,9}))?")
_LISTING: Final = re.compile(
    r"(?P<count>\d{1,9}) bad values? in \d+ rows?: (?P<items>(?:\[rows? |and \d).*)", re.S
)
_TAIL: Final = re.compile(r"(?:^|; )and (?P<more>\d{1,9}) more bad values?$")
_NEXT: Final = r"; (?=\[rows? \d|and \d+ more bad value)"


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

    Args:
        rejections: in any order; a long problem is cut.
        rows: of the request.

    Returns:
        At most ``MAX_MESSAGE_BYTES``; it ends in the number of bad values for which
        there was no room, if any.

    >>> describe([Rejection(1, "TEXT", "is blank")], rows=2)
    '1 bad value in 2 rows: [row 1, TEXT] is blank'
    >>> describe([Rejection(row, "TEXT", "is blank") for row in (0, 1, 4)], rows=5)
    '3 bad values in 5 rows: [rows 0-1,4, TEXT] is blank'
    """
    problems: dict[tuple[str, str], list[int]] = {}
    for each in sorted(rejections, key=_place):
        problems.setdefault((each.field, _one_line(each.problem)), []).append(each.row)
    heading = f"{_bad_values(len(rejections))} in {rows} row{'s' if rows > 1 else ''}: "
    more = len(rejections)
    room = MAX_MESSAGE_BYTES - _sent_bytes(f"{heading}and {_bad_values(more, 'more ')}")
    items: list[str] = []
    for (field, problem), bad in problems.items():
        item = f"[{_spans(bad)}, {field}] {problem}"
        room -= _sent_bytes(item + _SEPARATOR)
        if room < 0:
            items.append(f"and {_bad_values(more, 'more ')}")
            break
        items.append(item)
        more -= len(bad)
    return heading + _SEPARATOR.join(items)


def parse(message: str) -> tuple[Rejection, ...]:
    """Read the rejections back from a message; empty when it lists none.

    >>> parse("in ensemble 'x', 1 bad value in 2 rows: [row 1, TEXT] is blank")
    (Rejection(row=1, field='TEXT', problem='is blank'),)
    """
    listing = _LISTING.search(message)
    if listing is None:
        return ()
    items = re.split(_NEXT, _TAIL.sub("", listing["items"]))
    # No more than were announced: a few bytes can claim a billion rows.
    found = islice(_expanded(items), int(listing["count"]))
    return tuple(sorted(found, key=_place))


def unlisted(message: str) -> int:
    """Read how many bad values a message had no room for.

    >>> unlisted("9 bad values in 9 rows: [row 1, TEXT] is blank; and 8 more bad values")
    8
    """
    listing = _LISTING.search(message)
    tail = _TAIL.search(listing["items"]) if listing else None
    return int(tail["more"]) if tail else 0


def _place(rejection: Rejection) -> tuple[int, str]:
    return rejection.row, rejection.field


def _bad_values(count: int, which: str = "") -> str:
    return f"{count} {which}bad value{'s' if count > 1 else ''}"


def _one_line(problem: str) -> str:
    """Keep a problem short, on one line and free of the listing's own marks."""
    line = re.sub(r"\s+", " ", problem).strip()
    if len(line) > _MAX_PROBLEM_CHARACTERS:
        line = line[: _MAX_PROBLEM_CHARACTERS - 1] + "…"
    return re.sub(_NEXT, ", ", line)


def _sent_bytes(message: str) -> int:
    """Length on the wire, where gRPC writes a byte that is not plain ASCII as ``%XX``.

    Source: gRPC over HTTP/2, ``Percent-Encoded``.
    """
    plain = range(0x20, 0x7F)
    return sum(1 if b in plain and b != ord("%") else 3 for b in message.encode())


def _spans(rows: Iterable[int]) -> str:
    """Write rising row numbers, neighbours together.

    >>> _spans([1, 4, 5, 6])
    'rows 1,4-6'
    """
    spans: list[list[int]] = []
    for row in rows:
        if spans and row - 1 <= spans[-1][1]:
            spans[-1][1] = row
        else:
            spans.append([row, row])
    listed = ",".join(f"{a}-{b}" if a < b else f"{a}" for a, b in spans)
    return f"row{'' if listed.isdecimal() else 's'} {listed}"


def _expanded(items: Iterable[str]) -> Iterator[Rejection]:
    for item in items:
        if (match := _ITEM.fullmatch(item)) is None:
            continue
        for span in _SPAN.finditer(match["rows"]):
            first, last = int(span["first"]), int(span["last"] or span["first"])
            for row in range(first, last + 1):
                yield Rejection(row, match["field"], match["problem"])
