"""Rows of which some are refused: these are taken out, and the rest is asked once more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeAlias, TypeVar

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


def ask_good_rows(
    values: Sequence[Any],
    ask: Callable[[Sequence[Any]], Call[Sequence[T]]],
    line: Line,
    deadline: Deadline,
) -> Exchange[tuple[T | Rejection, ...]]:
    """Ask about the rows of one request after another, as often as rows of it are refused.

    Args:
        values: R rows, as the caller passed them.
        ask: describes the call about some of them, which has a result for each.
        line: what the client's calls share.
        deadline: of the whole call.

    Returns:
        R results or rejections, in the order of the rows; a rejection counts its row
        among them.

    Raises:
        ClientError: of a request as a whole.
    """
    found: dict[int, T | Rejection] = {}
    for start in range(0, len(values), ROWS_PER_REQUEST):
        places = list(range(start, min(start + ROWS_PER_REQUEST, len(values))))
        while places:
            try:
                call = ask([values[place] for place in places])
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
    return tuple(found[place] for place in range(len(values)))
