"""What is held of each symbol."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from megatick_training.errors import DataError
from megatick_training.tables import (
    SYMBOL_NAMES,
    find_column,
    numbers,
    read_table,
    strings,
)


def largest_first(values: pd.Series) -> pd.Series:
    """Sort what is held by size, long or short; of two as large the first stays first.

    >>> largest_first(pd.Series({"A": 1.0, "B": -3.0, "C": 3.0})).to_dict()
    {'B': -3.0, 'C': 3.0, 'A': 1.0}
    """
    return values.loc[values.abs().sort_values(ascending=False, kind="stable").index]


def read_holdings(path: Path, last_price: pd.Series) -> pd.Series:
    """Read what is held from a table that ``read_table`` reads.

    The columns are symbol (or ticker), and quantity, in units of what the prices are of, or
    value, in their currency; below 0 is short.

    Args:
        path: of the file.
        last_price: by symbol, each > 0.

    Returns:
        Value by symbol, float64, in the currency of the prices, in the file's order.

    Raises:
        DataError: not such a table, a symbol twice or without closes, an amount that is
            missing or infinite, or nothing held at all.
    """
    rows = read_table(path)
    symbol = find_column(rows, SYMBOL_NAMES, required_in=path)
    quantity = find_column(rows, ("quantity",))
    amount = quantity or find_column(rows, ("value",))
    if amount is None:
        raise DataError(
            path,
            f"lacks columns 'quantity' and 'value', it has {list(rows.columns)}; give one",
        )
    names = strings(rows[symbol]).str.strip()
    held = numbers(rows[amount], path)
    for bad, problem in (
        (names == "", "names no symbol"),
        (names.duplicated(), "names a symbol that stands above; add the two up"),
        (
            ~names.isin(last_price.index),
            "names a symbol without two closes by then: give them, or drop it",
        ),
        (~np.isfinite(held), f"expected a number in {amount!r}"),
    ):
        if bad.any():
            place = int(bad.to_numpy().argmax())
            line = f"line {rows.index[place]} ({names.iloc[place]!r})"
            raise DataError(path, f"{line}: {problem}")
    held = held.set_axis(pd.Index(names, name="symbol"))
    values = held * last_price.reindex(held.index) if quantity else held
    values = values[values != 0]
    if values.empty:
        raise DataError(path, "holds nothing: every amount is 0")
    return values.rename("value")
