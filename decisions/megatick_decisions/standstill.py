"""Prices that stand still: of a symbol suspended, delisted or pegged, or not kept up."""

from __future__ import annotations

import numpy as np
import pandas as pd


def still_bars(closes: pd.DataFrame) -> pd.Series[int]:
    """Count the latest bars of each symbol at which its close was the one before.

    Args:
        closes: as ``read_closes`` gives them; a missing one is no bar of its symbol.

    Returns:
        int, by symbol.

    >>> still_bars(pd.DataFrame({"A": [1.0, 2.0, 2.0, np.nan, 2.0], "B": 3.0})).to_dict()
    {'A': 2, 'B': 4}
    """

    def of(symbol: str) -> int:
        moved = np.diff(closes[symbol].dropna().to_numpy()) != 0
        return int(np.argmax(moved[::-1])) if moved.any() else len(moved)

    return pd.Series({symbol: of(symbol) for symbol in closes.columns}, dtype=np.int64)
