"""When two texts say the same: what is left of each, and how much of it they share.

Training keeps texts with one ``near_duplicate_key`` on one side of a split; a client tells
by ``sketch`` and ``resemblance`` how new a text is.  Both see the same letters.
"""

from __future__ import annotations

import re
from typing import Final

import numpy as np
import numpy.typing as npt

Sketch = npt.NDArray[np.uint32]
"""Hashes of a text's shingles: rising, distinct, at most ``SKETCH_HASHES``."""

SHINGLE_CHARACTERS: Final = 5
"""What short documents are cut into.

Source: Leskovec, Rajaraman, Ullman, Mining of Massive Datasets, 3.2.2.
"""

SKETCH_HASHES: Final = 256
"""Kept of a text: all of a headline's, the smallest ones of an article's."""

_LINKS_AND_SYMBOLS: Final = re.compile(r"https?://\S+|\$[A-Za-z]+|[@#]\w+")
_WORDS: Final = re.compile(r"[^\W\d_]+")


def near_duplicate_key(text: str) -> str:
    """What is left of a text when links, symbols, numbers and marks are taken away.

    >>> near_duplicate_key("$AAPL: price target cut to $120 https://t.co/x")
    'price target cut to'
    """
    return " ".join(_WORDS.findall(_LINKS_AND_SYMBOLS.sub(" ", text).lower()))


def sketch(text: str) -> Sketch:
    """Hash every run of five characters of a text's ``near_duplicate_key``.

    The hashes are the same on every machine and in every release.

    Returns:
        The smallest of them; none for a text without words.

    Source:
        Broder, On the resemblance and containment of documents, 1997, for the smallest
        hashes; the mixing is that of splitmix64 (Steele, Lea, Flood, 2014).
    """
    key = near_duplicate_key(text)
    if not key:
        return np.empty(0, np.uint32)
    key = key.ljust(SHINGLE_CHARACTERS)
    characters = np.frombuffer(key.encode("utf-32-le"), np.uint32).astype(np.uint64)
    windows = np.lib.stride_tricks.sliding_window_view(characters, SHINGLE_CHARACTERS)
    mixed = np.zeros(len(windows), np.uint64)
    for column in windows.T:
        mixed = mixed * np.uint64(0x9E3779B97F4A7C15) + column
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return np.unique((mixed >> np.uint64(32)).astype(np.uint32))[:SKETCH_HASHES]


def resemblance(one: Sketch, other: Sketch) -> float:
    """How much two texts share: shingles in both over shingles in either.

    Returns:
        In [0, 1].  Exact where the two have at most ``SKETCH_HASHES`` shingles together,
        else an estimate from so many of them; 0 where either has none.

    Source:
        Broder, as ``sketch``: the smallest hashes of the union are a sample of it.
    """
    if not (one.size and other.size):
        return 0.0
    merged = np.sort(np.concatenate([one, other]))  # what is in both stands there twice
    ranks = np.cumsum(np.append(True, merged[1:] != merged[:-1]))
    distinct = min(int(ranks[-1]), SKETCH_HASHES)
    in_sample = int(np.searchsorted(ranks, distinct, side="right"))
    return (in_sample - distinct) / distinct
