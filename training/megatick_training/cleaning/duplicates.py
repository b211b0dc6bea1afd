"""Which rows say what an earlier one said, of the same symbols and figures."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal

from megatick_training.cleaning.marks import cashtags_of
from megatick_training.near_duplicates import NearDuplicates

_NUMBER: Final = re.compile(r"\d+(?:[.,]\d+)*")

Facts = tuple[tuple[str, ...], tuple[str, ...]]


def facts_of(text: str) -> Facts:
    """The symbols and figures of a text: two of other facts are two pieces of news.

    >>> facts_of("$ACME target cut to $1,200 from $1,300.")
    (('ACME',), ('1,200', '1,300'))
    """
    return tuple(sorted(cashtags_of(text))), tuple(_NUMBER.findall(text))


@dataclass(frozen=True)
class Repeat:
    """An earlier row that says the same.

    Attributes:
        row: its number.
        reason: whether it is equal, or resembles.
    """

    row: int
    reason: Literal["duplicate", "near-duplicate"]


class Duplicates:
    """The texts that were kept so far; memory grows with them."""

    def __init__(self, *, at_least: float) -> None:
        """Begin with no text."""
        self._alike = NearDuplicates(at_least=at_least)
        self._rows: list[int] = []
        self._equal: dict[str, int] = {}

    def find_or_keep(self, row: int, text: str) -> Repeat | None:
        """Find the first row that says the same; without one, remember this.

        Args:
            row: its number.
            text: after all steps.
        """
        same = text.casefold()
        if same in self._equal:
            return Repeat(self._equal[same], "duplicate")
        alike = self._alike.find_or_add(text, apart=facts_of(text))
        if alike is not None:
            return Repeat(self._rows[alike], "near-duplicate")
        self._equal[same] = row
        self._rows.append(row)
        return None
