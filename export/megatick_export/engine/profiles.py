"""What shapes an engine must take: from what the configs let in, and from typical lengths.

Triton's batcher counts requests, and a request of R rows is one ragged element, so an
execution holds up to ``max_batch`` requests of up to ``max_batch`` rows each: one number
for both, since Triton refuses an ensemble that takes larger batches than a step of it.
The profile covers all of that, because a shape outside it fails every request that was
joined.  Memory is reserved for it, which is why TensorRT repositories take fewer rows a
request than CPU ones.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from megatick_contract.models import ROWS_PER_REQUEST
from megatick_contract.steps import INPUT_IDS, LONGEST, ROW_LENGTHS
from megatick_export.errors import OptionsError

MAX_SEQLEN: Final = "max_seqlen"
"""The graph's input whose length is the longest row's; Triton makes it from ``longest``."""


@dataclass(frozen=True)
class BatchLimits:
    """How much one execution may hold.

    Attributes:
        max_tokens: longest row, in tokens, ≥ 1.
        max_batch: most rows of a request, and most requests that are joined, ≥ 1.
        whole_window: attention is laid out for ``longest`` tokens a row, however short
            the rows are: TensorRT fuses FP8 attention only where that length is fixed.

    Raises:
        OptionsError: a number below 1.
    """

    max_tokens: int
    max_batch: int = ROWS_PER_REQUEST
    whole_window: bool = False

    def __post_init__(self) -> None:
        """Check the numbers."""
        for name in ("max_tokens", "max_batch"):
            if getattr(self, name) < 1:
                raise OptionsError(name, expected="at least 1", found=getattr(self, name))

    @property
    def rows(self) -> int:
        """Most rows of one execution."""
        return self.max_batch**2

    @property
    def tokens(self) -> int:
        """Most tokens of one execution."""
        return self.rows * self.max_tokens

    @property
    def longest(self) -> int:
        """Most elements of a request's ``longest``.

        Triton takes no max_batch_size beyond the largest first axis of any input, so it
        is as long as the batch where the window is shorter.
        """
        return max(self.max_tokens, self.max_batch)


@dataclass(frozen=True)
class Range:
    """Lengths of one axis: the smallest, the one to be fastest at, and the largest."""

    smallest: int
    typical: int
    largest: int


@dataclass(frozen=True)
class Profile:
    """One optimisation profile: the range of each input's only axis, by name."""

    axes: Mapping[str, Range]

    @classmethod
    def of(cls, limits: BatchLimits, row_lengths: Iterable[int]) -> Profile:
        """Cover the limits, and be fastest at a full batch of single texts.

        Args:
            limits: what one execution may hold.
            row_lengths: tokens of typical texts; longer ones count as ``max_tokens``.

        Raises:
            OptionsError: no length, or one below 1.
        """
        histogram = Counter(min(each, limits.max_tokens) for each in row_lengths)
        if not histogram or min(histogram) < 1:
            raise OptionsError(
                "lengths", expected="at least one length, each ≥ 1", found=dict(histogram)
            )
        mean = sum(n * count for n, count in histogram.items()) / histogram.total()
        rows = limits.max_batch
        largest = limits.longest
        if limits.whole_window:
            shortest = longest = largest
        else:
            shortest, longest = 1, median_of_longest(histogram, rows)
        return cls(
            {
                INPUT_IDS.name: Range(1, math.ceil(rows * mean), limits.tokens),
                ROW_LENGTHS.name: Range(1, rows, limits.rows),
                # Each request brings its own; an engine input that is never read.  Triton
                # lets requests join only on inputs whose length the profile leaves open.
                LONGEST.name: Range(1, rows * longest, limits.max_batch * largest),
                MAX_SEQLEN: Range(shortest, longest, largest),
            }
        )


def median_of_longest(histogram: Mapping[int, int], rows: int) -> int:
    """The median of the longest of ``rows`` lengths drawn from a histogram.

    Args:
        histogram: how often each length occurs.
        rows: how many are drawn, independently, ≥ 1.

    Source: P(longest ≤ L) = P(length ≤ L) ** rows.
    """
    total = sum(histogram.values())
    seen = 0
    for length in sorted(histogram):
        seen += histogram[length]
        if (seen / total) ** rows >= 0.5:
            return length
    raise ValueError("an empty histogram has no median")
