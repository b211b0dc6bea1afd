"""Passages that a source repeats from text to text, found by counting and by no list."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from typing import Final

MIN_TEXTS: Final = 10
"""A passage must stand in so many of a source's texts …"""

MIN_SHARE: Final = 0.05
"""… and in this share of those that have several passages.  A convention: no news is in
every twentieth text."""

_MIN_BYTES: Final = 24
"""Shorter ones, in UTF-8, are abbreviations and names that a full stop cut off."""

_PASSAGE: Final = re.compile(r".*?(?:\n|(?<=[.!?])\s+|(?<=[。！？])|$)", re.DOTALL)


class RepeatedPassages:
    """How many texts of each source hold a passage: a line, or a sentence.

    Only texts of several passages count, and memory grows with the distinct passages.
    """

    def __init__(self) -> None:
        """Begin with no text."""
        self._texts: Counter[str] = Counter()
        self._holding: dict[str, Counter[int]] = {}

    def add(self, source: str, text: str) -> None:
        """Count the passages of one text."""
        passages = _passages(text)
        if len(passages) > 1:
            self._texts[source] += 1
            held = self._holding.setdefault(source, Counter())
            held.update({hash(each.strip()) for each in passages})

    def is_repeated(self, source: str, passage: str) -> bool:
        """Tell whether a passage stands in too many of a source's texts to be news."""
        passage = passage.strip()
        if len(passage.encode()) < _MIN_BYTES or source not in self._holding:
            return False
        texts = self._holding[source][hash(passage)]
        return texts >= max(MIN_TEXTS, MIN_SHARE * self._texts[source])

    def drop(
        self, source: str, text: str, *, dropped: Callable[[str], None] = lambda _: None
    ) -> str:
        """Drop the repeated passages of a text; one that is nothing else stays whole.

        Args:
            source: of the text.
            text: of which every passage was counted.
            dropped: is told each passage that goes.
        """
        passages = _passages(text)
        repeated = [self.is_repeated(source, each) for each in passages]
        left = "".join(
            each for each, goes in zip(passages, repeated, strict=True) if not goes
        )
        if len(passages) < 2 or not left.strip():
            return text
        for each, goes in zip(passages, repeated, strict=True):
            if goes:
                dropped(each.strip())
        return left


def _passages(text: str) -> list[str]:
    """Cut a text after its lines and sentences; end to end they are the text."""
    return [each for each in _PASSAGE.findall(text) if each]
