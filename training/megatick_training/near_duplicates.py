"""Which of many texts say the same, found without comparing each with each.

MinHash proposes pairs, and the wire's own ``resemblance`` decides on each of them, so that
training and the client mean one thing by it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from megatick_contract.near_duplicates import (
    Sketch,
    near_duplicate_key,
    resemblance,
    sketch,
)

IntArray = npt.NDArray[np.intp]

RESEMBLANCE: Final = 0.8
"""At and above it two texts say the same.

Source: Lee et al., "Deduplicating Training Data Makes Language Models Better", ACL 2022,
section 4.2, who hold documents of a Jaccard index of 0.8 to be near-duplicates.
"""

LEAKING_RESEMBLANCE: Final = 0.6
"""From it on two texts do not part in a split.

A convention on the safe side: below RESEMBLANCE, so that what a wire writes by one pattern
("… EPS beats by $0.24, beats on revenue") stays on one side too.
"""

_PERMUTATIONS: Final = 128
_MARGIN: Final = 0.1
"""Pairs are proposed from so much below what is asked, lest chance miss what is just alike:
at a resemblance of 0.8, 20 bands of 6 rows miss (1 - 0.8**6)**20 = 0.2 % of the pairs."""
_WEIGHTS: Final = (0.1, 0.9)
"""Of a pair proposed in vain, which costs one comparison, and of one that is missed."""


class NearDuplicates:
    """The texts seen so far, asked for those that resemble another one.

    Memory grows with the texts: up to 1 KiB of sketch and some 4 KiB of index for each
    that says something new.
    """

    def __init__(self, *, at_least: float = RESEMBLANCE) -> None:
        """Begin with no text.

        Args:
            at_least: the resemblance of near-duplicates, in (0, 1].
        """
        self._at_least = at_least
        self._index = MinHashLSH(
            max(at_least - _MARGIN, _MARGIN), _PERMUTATIONS, weights=_WEIGHTS
        )
        self._empty = MinHash(_PERMUTATIONS, hashfunc=int)
        self._sketches: dict[int, Sketch] = {}
        self._apart: dict[int, Hashable] = {}
        self._first_of: dict[tuple[str, Hashable], int] = {}
        self._texts = 0

    def add(self, text: str) -> list[int]:
        """Remember a text.

        Returns:
            The numbers, from 0 in the order of adding, of earlier texts that it resembles:
            at least one of each group of equal ``near_duplicate_key``.  Texts without
            words resemble only those that are equal.
        """
        return self._find(text, apart=None, always_add=True)

    def find_or_add(self, text: str, *, apart: Hashable) -> int | None:
        """Find the first text that this one resembles; without one, remember this.

        Args:
            text: to look for.
            apart: texts of which this differs never resemble.

        Returns:
            The number, from 0, of a text that was remembered, or None.
        """
        found = self._find(text, apart=apart, always_add=False)
        return found[0] if found else None

    def __contains__(self, text: str) -> bool:
        """Whether a text resembles one that was added; it is not remembered itself."""
        return _key(text, None) in self._first_of or bool(
            self._alike(*self._signed(text), None)
        )

    def _find(self, text: str, *, apart: Hashable, always_add: bool) -> list[int]:
        key = _key(text, apart)
        if key in self._first_of:
            self._texts += always_add
            return [self._first_of[key]]
        hashes, signature = self._signed(text)
        alike = self._alike(hashes, signature, apart)
        if always_add or not alike:
            number, self._texts = self._texts, self._texts + 1
            self._first_of[key] = number
            self._apart[number], self._sketches[number] = apart, hashes
            if hashes.size:
                self._index.insert(number, signature, check_duplication=False)
        return alike

    def _signed(self, text: str) -> tuple[Sketch, MinHash]:
        hashes = sketch(text)
        signature = self._empty.copy()
        signature.update_batch(hashes.tolist())
        return hashes, signature

    def _alike(self, hashes: Sketch, signature: MinHash, apart: Hashable) -> list[int]:
        return sorted(
            other
            for other in self._index.query(signature)
            if self._apart[other] == apart
            and resemblance(hashes, self._sketches[other]) >= self._at_least
        )


def _key(text: str, apart: Hashable) -> tuple[str, Hashable]:
    return near_duplicate_key(text) or text.strip(), apart


def near_duplicate_groups(
    texts: Iterable[str], *, at_least: float = RESEMBLANCE
) -> IntArray:
    """Group texts so that no two of different groups resemble each other.

    The groups are the connected components: a text that resembles two others joins them.

    Args:
        texts: n texts.
        at_least: the resemblance of near-duplicates, in (0, 1].

    Returns:
        Shape (n,): each text's group, from 0 in the order of the groups' first texts.

    >>> near_duplicate_groups(["Profit rises 5%", "Oil falls", "$ACME profit rises 7%"])
    array([0, 1, 0])
    """
    seen = NearDuplicates(at_least=at_least)
    alike = [seen.add(text) for text in texts]
    links_of = np.array([len(each) for each in alike], np.intp)
    later = np.repeat(np.arange(len(alike)), links_of)
    earlier = np.array([other for each in alike for other in each], np.intp)
    links = coo_array(
        (np.ones(len(later), np.int8), (later, earlier)), shape=(len(alike), len(alike))
    )
    groups: IntArray = connected_components(links, directed=False)[1].astype(np.intp)
    return groups
