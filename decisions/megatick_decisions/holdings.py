"""What is held of each symbol."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pandas as pd

from megatick_decisions.errors import listed
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


@dataclass(frozen=True, eq=False)
class Holdings:
    """What is held.

    Attributes:
        values: money by symbol, float64, below 0 where short, in the order of the file.
        currency: of all of them; empty where no file names one.
    """

    values: pd.Series
    currency: str


def read_holdings(
    path: Path,
    last_price: pd.Series,
    *,
    currencies: Mapping[str, str] = MappingProxyType({}),
) -> Holdings:
    """Read what is held from a table that ``read_table`` reads.

    The columns are symbol (or ticker), and quantity, in units of what the prices are of, or
    value; where both are there the quantity counts.  Below 0 is short.  A column currency
    may name that of each amount: they are added up, so it has to be one.

    Args:
        path: of the file.
        last_price: of each symbol that can be held, as it traded; NaN where it never did.
        currencies: of the prices of each symbol, as far as they are known.

    Raises:
        DataError: not such a table, a symbol twice or without closes, an amount that is
            missing or infinite, a quantity without a price above 0, amounts in several
            currencies, or nothing held at all.
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
    worth = names.map(last_price.astype("float64"))
    priced = strings(names.map(dict(currencies)))
    currency = find_column(rows, ("currency",))
    told = (
        strings(rows[currency]).str.strip() if currency else pd.Series("", index=rows.index)
    )
    for bad, problem in (
        (names == "", "names no symbol"),
        (names.duplicated(), "names a symbol that stands above; add the two up"),
        (
            ~names.isin(last_price.index),
            "names a symbol without two closes by then: give them, or drop it",
        ),
        (~np.isfinite(held), f"expected a number in {amount!r}"),
        (
            (~np.isfinite(worth) | (worth <= 0)) & (quantity is not None),
            "expected a last 'close' above 0 to value a quantity by: correct the prices, "
            "or give its value",
        ),
        (
            (told != priced) & (told != "") & (priced != "") & (quantity is not None),
            "is held in {told}, but its prices are in {priced}, and by them a quantity is "
            "valued: give its value, or prices in that currency",
        ),
    ):
        if bad.any():
            place = int(np.asarray(bad).argmax())
            line = f"line {rows.index[place]} ({names.iloc[place]!r})"
            currencies_of = {"told": told.iloc[place], "priced": priced.iloc[place]}
            raise DataError(path, f"{line}: {problem.format(**currencies_of)}")
    values = pd.Series(
        (held * worth if quantity else held).to_numpy(), pd.Index(names, name="symbol")
    )
    of = told.where(told != "", priced) if quantity else told
    some = (values != 0).to_numpy()
    if not some.any():
        raise DataError(path, "holds nothing: every amount is 0")
    return Holdings(
        values=values[some].rename("value"),
        currency=_one_currency(names[some], of[some], path),
    )


def _one_currency(names: pd.Series, of: pd.Series, path: Path) -> str:
    """The currency of all that is held, or empty; several are refused."""
    symbols = names.groupby(of, sort=False).agg(list)
    if len(symbols) > 1:
        each = "; ".join(
            f"{name or 'none named'}: {listed(those)}" for name, those in symbols.items()
        )
        raise DataError(
            path,
            f"holds amounts in {len(symbols)} currencies ({each}), expected one, since "
            "they are added up: convert them, and give the value of each in one currency",
        )
    return str(symbols.index[0])
