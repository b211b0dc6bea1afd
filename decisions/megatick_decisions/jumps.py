"""Moves that look like a split that closes are not adjusted for."""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import pandas as pd

from megatick_decisions.errors import listed

_FACTOR: Final = 1.8
"""A move of a bar, up or down: two for one, and less for what the market did that day."""


def like_splits(closes: pd.DataFrame) -> str:
    """Name the symbols that moved so far within a bar; empty where none did.

    Args:
        closes: as ``read_closes`` gives them; a missing one is no bar of its symbol.

    >>> days = pd.date_range("2026-03-02", periods=3, tz="UTC")
    >>> like_splits(pd.DataFrame({"A": [80.0, 82, 20.5], "B": [1.0, 1.7, 1]}, days))
    'By a factor of 1.8 or more within a bar moved A (0.25 on 2026-03-04): if that is a \
split, give closes that are adjusted for it, since it counts as a return.'
    """
    found = []
    for symbol in closes.columns:
        moves = np.log(closes[symbol].dropna()).diff()
        if (moves.abs() > math.log(_FACTOR)).any():
            at = moves.abs().idxmax()
            found.append(f"{symbol} ({math.exp(moves[at]):.2g} on {at:%Y-%m-%d})")
    if not found:
        return ""
    return (
        f"By a factor of {_FACTOR} or more within a bar moved {listed(found)}: if that is "
        "a split, give closes that are adjusted for it, since it counts as a return."
    )
