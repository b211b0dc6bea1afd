"""What a text is taken apart into to be explained: words, or characters without spaces."""

from __future__ import annotations

import re
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final

# Scripts whose words no spaces divide: of Unicode's UAX #14 (line breaking) the ideographs
# (class ID), kana, and those of complex context (class SA); Blocks.txt has the ranges.
_SPACELESS: Final = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\uff66-\uff9f"  # kana
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
# What is written over, under or behind a letter goes with it.
_MARKS: Final = (
    "\u0e31\u0e33-\u0e3a\u0e47-\u0e4e\u0eb1\u0eb3-\u0ebc\u0ec8-\u0ece"
    "\u102b-\u103e\u1056-\u1059\u17b4-\u17d3\u3099\u309a\uff9e\uff9f"
    "\ufe00-\ufe0f\U000e0100-\U000e01ef"
)
_WORD: Final = re.compile(rf"[{_SPACELESS}][{_MARKS}]*|[^\s{_SPACELESS}]+")


@dataclass(frozen=True)
class Word:
    """A run of a text that is left out as a whole.

    Attributes:
        start: its first character.
        stop: the character behind its last.
        space: where the white space before it starts; ``start`` where there is none.
    """

    start: int
    stop: int
    space: int


def words_of(text: str) -> tuple[Word, ...]:
    """Cut a text into words.

    Returns:
        In their order, all that is no white space: runs between white space, their
        punctuation with them; of scripts that write no spaces (Chinese, Japanese, Thai,
        …) each character, with its marks.
    """
    found = list(_WORD.finditer(text))
    ends = [0, *(each.end() for each in found)]
    return tuple(
        Word(each.start(), each.end(), space)
        for each, space in zip(found, ends, strict=False)
    )


def without(text: str, words: Sequence[Word], gone: Container[int]) -> str:
    """Leave words out of a text.

    Args:
        text: the text.
        words: its words.
        gone: the numbers of those to leave out, each with the white space before it.

    Returns:
        What is left, between the white space that the text begins and ends with; blank
        only if all is gone.
    """
    kept = (text[w.space : w.stop] for n, w in enumerate(words) if n not in gone)
    body = "".join(kept).strip()
    return text[: words[0].start] + body + text[words[-1].stop :]
