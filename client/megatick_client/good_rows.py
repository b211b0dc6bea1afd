"""Rows of which some are refused: these are taken out, and the rest is asked once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal, TypeAlias, TypeVar

from megatick_client.attempts import Line
from megatick_client.deadlines import Deadline
from megatick_client.errors import BadRequest
from megatick_client.steps import Exchange
from megatick_client.surface import Call
from megatick_contract import Rejection
from megatick_contract.models import ROWS_PER_REQUEST

T = TypeVar("T")

Errors: TypeAlias = Literal["raise", "return"]
"""What becomes of a bad row: the call raises, or has the reason in the row's place."""


def returns_errors(errors: object, *, single: bool, thing: str) -> bool:
    """Whether a call has a bad row's reason in its place.

    Args:
        errors: as the caller passed it.
        single: the call is about one row, and has no places.
        thing: what a row is, for the message.

    Raises:
        BadRequest: no such ``Errors``, or not of one row.
    """
    if errors == "raise":
        return False
    if errors != "return" or single:
        expected = f"'raise' of one {thing}" if single else "raise, return"
        raise BadRequest(f"errors: expected {expected}, found {errors!r:.40}")
    return True


def ask_good_rows(
    count: int,
    ask: Callable[[Sequence[int]], Call[Sequence[T]]],
    line: Line,
    deadline: Deadline,
) -> Exchange[tuple[T | Rejection, ...]]:
    """Ask about the rows of one request after another, as often as rows of it are refused.

    Args:
        count: R, of the rows that the caller passed.
        ask: describes the call about those at some places, which has a result for each.
        line: what the client's calls share.
        deadline: of the whole call.

    Returns:
        R results or rejections, in the order of the rows; a rejection counts its row
        among them.

    Raises:
        ClientError: of a request as a whole.
    """
    found: dict[int, T | Rejection] = {}
    for start in range(0, count, ROWS_PER_REQUEST):
        places = list(range(start, min(start + ROWS_PER_REQUEST, count)))
        while places:
            try:
                call = ask(places)
                results = yield from call.exchange(line, deadline)
            except BadRequest as error:
                if not error.rejections:
                    raise
                for bad in error.rejections:
                    place = places[bad.row]
                    found.setdefault(place, replace(bad, row=place))
                places = [place for place in places if place not in found]
            else:
                found.update(zip(places, results, strict=True))
                break
    return tuple(found[place] for place in range(count))
