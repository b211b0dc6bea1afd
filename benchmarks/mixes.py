"""Rows of the lengths that texts come in, of any tokens at all.

Time depends on how many tokens there are and how they are divided into rows, never on
which they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from subject import Row

SHORTEST: Final = 5
LONGEST: Final = 512
_IDS: Final = 200
"""Below every vocabulary's size."""


def rows_of(lengths: Sequence[int]) -> list[Row]:
    """Draw int32 rows of these lengths."""
    draw = np.random.default_rng(0)
    return [draw.integers(0, _IDS, length).astype(np.int32) for length in lengths]


def mixed_lengths(tokens: int, *, window: int) -> list[int]:
    """Spread lengths evenly by their logarithm, from a flash to a whole article.

    Args:
        tokens: in all, about; at least those of one text of either end.
        window: longest row that the model reads, in tokens.

    Returns:
        From ``SHORTEST`` to ``LONGEST`` or the window, shortest first.

    >>> mixed_lengths(1000, window=512)
    [5, 9, 16, 28, 51, 90, 161, 287, 512]
    """
    longest = min(LONGEST, window)
    mean = (longest - SHORTEST) / np.log(longest / SHORTEST)
    count = max(2, int(tokens / mean))
    spread = np.geomspace(SHORTEST, longest, count).round().astype(int)
    return [int(length) for length in spread]
