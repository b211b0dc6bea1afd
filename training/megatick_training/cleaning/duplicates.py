"""Which rows say what an earlier one said, of the same symbols, figures and arrows."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

from megatick_contract.near_duplicates import near_duplicate_key
from megatick_training.cleaning.marks import cashtags_of
from megatick_training.near_duplicates import NearDuplicates

# What resemblance leaves away.
_FIGURE: Final = re.compile(r"(?:[-+−–]|\(?[$€£¥]\(?)*\d+(?:[.,]\d+)*%?")
_TAG: Final = re.compile(r"[@#]\w+|\$[A-Za-z]{7,}")
_ARROW: Final = re.compile("[\u2190-\u21ff\u25b2-\u25c5\u2b00-\u2b0d📈📉🔺🔻🔼🔽]")

Facts = tuple[tuple[str, ...], tuple[str, ...], tuple[str, ...]]


def facts_of(text: str, *, cashtags: Iterable[str] = ()) -> Facts:
    """The symbols, figures and arrows of a text: one of others is other news.

    Hashtags and handles are symbols where words follow; those at the end say where a
    text is from.

    Args:
        text: after all steps.
        cashtags: that a step may have taken from it.

    >>> facts_of("$ACME -5% 📉 target cut to $1,200 via @desk #stocks")
    (('ACME',), ('-5%', '$1,200'), ('📉',))
    """
    tags = {
        found[0].casefold()
        for found in _TAG.finditer(text)
        if near_duplicate_key(text[found.end() :])
    }
    symbols = {*cashtags, *cashtags_of(text), *tags}
    arrows = set(_ARROW.findall(text))
    return tuple(sorted(symbols)), tuple(_FIGURE.findall(text)), tuple(sorted(arrows))


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

    def find_or_keep(self, row: int, text: str, *, original: str) -> Repeat | None:
        """Find the first row that says the same; without one, remember this.

        Args:
            row: its number.
            text: after all steps.
            original: before them, with the cashtags that a step may have taken.
        """
        same = text.casefold()
        if same in self._equal:
            return Repeat(self._equal[same], "duplicate")
        facts = facts_of(text, cashtags=cashtags_of(original))
        alike = self._alike.find_or_add(text, apart=facts)
        if alike is not None:
            return Repeat(self._rows[alike], "near-duplicate")
        self._equal[same] = row
        self._rows.append(row)
        return None
