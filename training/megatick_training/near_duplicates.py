"""Which of many texts say the same, found without comparing each with each.

MinHash proposes pairs, and the wire's own ``resemblance`` decides on each of them, so that
training and the client mean one thing by it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Hashable, Iterable
from typing import Final

import numpy as np
import numpy.typing as npt
from datasketch import MinHash, MinHashLSH
from scipy.cluster.hierarchy import DisjointSet

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
        self._bands = _Bands(at_least)
        self._sketches: list[Sketch] = []
        self._numbers: defaultdict[int, list[int]] = defaultdict(list)
        self._first_of: dict[tuple[str, Hashable], int] = {}

    def add(self, text: str) -> None:
        """Remember a text, where none of its ``near_duplicate_key`` is."""
        if (_key(text), None) not in self._first_of:
            self._remember(text, sketch(text), apart=None)

    def __contains__(self, text: str) -> bool:
        """Whether a text resembles one that was added; it is not remembered itself."""
        return self._find(text, sketch(text), apart=None) is not None

    def find_or_add(self, text: str, *, apart: Hashable) -> int | None:
        """Find the first text that this one resembles; without one, remember this.

        Texts without words resemble only those that are equal.

        Args:
            text: to look for.
            apart: texts of which this differs never resemble.

        Returns:
            The number, from 0, of a text that was remembered, or None.
        """
        hashes = sketch(text)
        found = self._find(text, hashes, apart=apart)
        if found is None:
            self._remember(text, hashes, apart=apart)
        return found

    def _find(self, text: str, hashes: Sketch, *, apart: Hashable) -> int | None:
        equal = self._first_of.get((_key(text), apart))
        if equal is not None:
            return equal
        proposed = {
            other
            for bucket in self._bands.buckets_of(hashes, apart)
            for other in self._numbers.get(bucket, ())
        }
        for other in sorted(proposed):
            if resemblance(hashes, self._sketches[other]) >= self._at_least:
                return other
        return None

    def _remember(self, text: str, hashes: Sketch, *, apart: Hashable) -> None:
        number = len(self._sketches)
        self._sketches.append(hashes)
        self._first_of[_key(text), apart] = number
        for bucket in self._bands.buckets_of(hashes, apart):
            self._numbers[bucket].append(number)


def near_duplicate_groups(
    texts: Iterable[str], *, at_least: float = RESEMBLANCE
) -> IntArray:
    """Group texts so that no two of different groups resemble each other.

    The groups are the connected components: a text that resembles two others joins them.
    A text is compared with those of a group only until it belongs there: of the thousands
    that a wire writes by one pattern, with one.

    Args:
        texts: n texts.
        at_least: the resemblance of near-duplicates, in (0, 1].

    Returns:
        Shape (n,): each text's group, from 0 in the order of the groups' first texts.

    >>> near_duplicate_groups(["Profit rises 5%", "Oil falls", "$ACME profit rises 7%"])
    array([0, 1, 0])
    """
    bands, groups = _Bands(at_least), DisjointSet()
    first_of: dict[str, int] = {}
    sketches: dict[int, Sketch] = {}
    members: defaultdict[int, dict[int, list[int]]] = defaultdict(dict)
    for number, text in enumerate(texts):
        groups.add(number)
        first = first_of.setdefault(_key(text), number)
        if first != number:
            groups.merge(first, number)
            continue
        sketches[number] = hashes = sketch(text)
        unlike: set[int] = set()
        for bucket in bands.buckets_of(hashes):
            by_group: dict[int, list[int]] = {}
            for one, them in members[bucket].items():  # groups may have joined since
                group = groups[one]
                by_group[group] = by_group[group] + them if group in by_group else them
            for group, them in by_group.items():
                if groups.connected(group, number):
                    continue
                for other in them:
                    if other in unlike:
                        continue
                    if resemblance(hashes, sketches[other]) >= at_least:
                        groups.merge(other, number)
                        break
                    unlike.add(other)
            by_group.setdefault(groups[number], []).append(number)
            members[bucket] = by_group
    order: dict[int, int] = {}
    return np.array(
        [order.setdefault(groups[each], len(order)) for each in groups], np.intp
    )


class _Bands:
    """Where MinHash puts texts so that those that resemble meet in one bucket or more."""

    def __init__(self, at_least: float) -> None:
        chosen = MinHashLSH(
            max(at_least - _MARGIN, _MARGIN), _PERMUTATIONS, weights=_WEIGHTS
        )
        self._bands, self._rows = chosen.b, chosen.r
        self._empty = MinHash(_PERMUTATIONS, hashfunc=int)

    def buckets_of(self, hashes: Sketch, apart: Hashable = None) -> list[int]:
        """Name the buckets of a text; names equal by chance cost a comparison."""
        if not hashes.size:
            return []
        signature = self._empty.copy()
        signature.update_batch(hashes.tolist())
        cut = signature.hashvalues[: self._bands * self._rows].reshape(self._bands, -1)
        return [hash((band, row.tobytes(), apart)) for band, row in enumerate(cut)]


def _key(text: str) -> str:
    return near_duplicate_key(text) or text.strip()
