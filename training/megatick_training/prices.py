"""Price histories as tables: one column a symbol, one row a bar, oldest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from megatick_training.errors import DataError
from megatick_training.tables import (
    SYMBOL_NAMES,
    find_column,
    numbers,
    read_table,
    strings,
    symbols_of,
    times,
)

BAR_FIELDS: Final = ("open", "high", "low", "close", "volume")
_CLOSE_NAMES: Final = ("adj_close", "close")
_TIME_NAMES: Final = ("date", "time", "published_at")


@dataclass(frozen=True)
class Prices:
    """Price histories.

    Attributes:
        closes: float64, > 0 or NaN, indexed by time in UTC, rising; one column a symbol.
            Adjusted for splits and dividends where the file says so.
        bars: the fields of ``BAR_FIELDS`` that a long table had, in the same shape, as
            traded and never adjusted.
        currencies: of each symbol's prices, where a long table has a column of them.
    """

    closes: pd.DataFrame
    bars: Mapping[str, pd.DataFrame] = field(default_factory=dict)
    currencies: Mapping[str, str] = field(default_factory=dict)


def read_prices(path: Path, *, symbols: Sequence[str] = ()) -> Prices:
    """Read price histories from a table that ``read_table`` reads.

    A long table has the columns symbol (or ticker), date (or time, published_at) and
    close; where it has adj_close, that is taken, and a currency tells that of a symbol's
    prices.  Any other table is wide: one column is the time (that of a Parquet file which
    has the type, else the first), every further one a symbol's closes, and its times rise.
    A time is in UTC and says so, or is a date alone, which is taken as that day's midnight.

    Args:
        path: of the file.
        symbols: those to give, in this order; all if none is named.

    Raises:
        DataError: not such a table, a close that is not above 0, a symbol's prices in two
            currencies, or no such symbol.
    """
    rows = read_table(path)
    if find_column(rows, SYMBOL_NAMES) and find_column(rows, _CLOSE_NAMES):
        prices = _from_long(rows, path)
    else:
        prices = Prices(_from_wide(rows, path))
    _check(prices.closes, path)
    missing = sorted(set(symbols) - set(prices.closes.columns))
    if missing:
        raise DataError(path, f"has no symbol {missing[0]!r}")
    if not symbols:
        return prices
    named = list(symbols)
    return Prices(
        prices.closes[named],
        {name: bars[named] for name, bars in prices.bars.items()},
        {name: prices.currencies[name] for name in named if name in prices.currencies},
    )


def read_closes(path: Path, *, symbols: Sequence[str] = ()) -> pd.DataFrame:
    """The closes alone of what ``read_prices`` reads."""
    return read_prices(path, symbols=symbols).closes


def _from_long(rows: pd.DataFrame, path: Path) -> Prices:
    symbol = find_column(rows, SYMBOL_NAMES, required_in=path)
    time = find_column(rows, _TIME_NAMES, required_in=path)
    close = find_column(rows, _CLOSE_NAMES, required_in=path)
    named = symbols_of(rows[symbol])
    for line, each in zip(rows.index, named, strict=True):
        if len(each) != 1:
            raise DataError(path, f"line {line}: expected one symbol, found {list(each)}")
    index = pd.MultiIndex.from_arrays(
        [times(rows[time], path, dates=True), [name for (name,) in named]],
        names=["time", "symbol"],
    )
    repeated = index.duplicated()
    if repeated.any():
        at, which = index[repeated][0]
        raise DataError(path, f"holds two bars of {which} at {at}; keep one")

    def wide(column: str) -> pd.DataFrame:
        values: pd.DataFrame = numbers(rows[column], path).set_axis(index).unstack(level=1)
        return values.sort_index()

    found = {name: find_column(rows, (name,)) for name in BAR_FIELDS}
    currency = find_column(rows, ("currency",))
    closes = wide(close)
    if closes.isna().all(axis=None):
        raise DataError(path, f"has no number in {close!r}: fill that column, or drop it")
    return Prices(
        closes,
        {name: wide(column) for name, column in found.items() if column},
        _currencies(index.get_level_values("symbol"), rows[currency], path)
        if currency
        else {},
    )


def _currencies(symbols: pd.Index[str], told: pd.Series, path: Path) -> dict[str, str]:
    """The currency of each symbol that has one; pence, GBp, are not pounds, GBP."""
    pairs = pd.DataFrame({"symbol": symbols, "currency": strings(told).str.strip().array})
    pairs = pairs[pairs["currency"] != ""].drop_duplicates()
    twice = pairs["symbol"].duplicated()
    if twice.any():
        symbol = pairs.loc[twice, "symbol"].iloc[0]
        both = " and in ".join(pairs.loc[pairs["symbol"] == symbol, "currency"])
        raise DataError(
            path,
            f"has prices of {symbol} in {both}, expected one currency a symbol: convert"
            " them to one",
        )
    return dict(zip(pairs["symbol"], pairs["currency"], strict=True))


def _from_wide(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    if rows.shape[1] < 2:
        raise DataError(path, "expected a column of times and at least one symbol's closes")
    typed = rows.select_dtypes(["datetime", "datetimetz"]).columns  # as of an index
    time = typed[0] if len(typed) else rows.columns[0]
    index = times(rows[time], path, dates=True)
    if not (index.is_monotonic_increasing and index.is_unique):
        raise DataError(path, "dates must rise, one row a bar")
    closes = rows.drop(columns=time).apply(numbers, path=path)
    return closes.set_axis(index.rename("time"))


def _check(closes: pd.DataFrame, path: Path) -> None:
    wrong = (closes <= 0) | np.isinf(closes)
    if wrong.any(axis=None):
        row, column = np.argwhere(wrong.to_numpy())[0]
        raise DataError(
            path,
            f"holds a close that is not above 0: {closes.to_numpy()[row, column]} of "
            f"{closes.columns[column]} at {closes.index[row]}; leave a missing close empty",
        )
