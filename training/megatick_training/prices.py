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
    read_rows,
)

BAR_FIELDS: Final = ("open", "high", "low", "close", "volume")
_ZONE: Final = r"(?:[Zz]|[+-]\d{2}:?\d{2})$"
_TIME_NAMES: Final = ("date", "time", "published_at")


@dataclass(frozen=True)
class Prices:
    """Price histories.

    Attributes:
        closes: float64, > 0 or NaN, indexed by time in UTC, rising; one column a symbol.
            Adjusted for splits and dividends where the file says so.
        bars: the fields of ``BAR_FIELDS`` that a long table had, in the same shape, as
            traded and never adjusted.
    """

    closes: pd.DataFrame
    bars: Mapping[str, pd.DataFrame] = field(default_factory=dict)


def read_prices(path: Path, *, symbols: Sequence[str] = ()) -> Prices:
    """Read price histories from CSV or JSON lines (gzip or not), or from Parquet.

    A long table has the columns symbol (or ticker), date (or time, published_at) and
    close; where it has adj_close, that is taken.  Any other table is wide: its first
    column is the time, every further one a symbol's closes, and its times rise.  A time
    is in UTC and says so, or is a date alone, which is taken as that day's midnight.

    Args:
        path: of the file.
        symbols: those to give, in this order; all if none is named.

    Raises:
        DataError: not such a table, a close that is not above 0, or no such symbol.
    """
    rows = read_rows(path)
    if find_column(rows, SYMBOL_NAMES) and find_column(rows, ("close", "adj_close")):
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
        prices.closes[named], {name: bars[named] for name, bars in prices.bars.items()}
    )


def read_closes(path: Path, *, symbols: Sequence[str] = ()) -> pd.DataFrame:
    """The closes alone of what ``read_prices`` reads."""
    return read_prices(path, symbols=symbols).closes


def _from_long(rows: pd.DataFrame, path: Path) -> Prices:
    symbol = find_column(rows, SYMBOL_NAMES, required_in=path)
    time = find_column(rows, _TIME_NAMES, required_in=path)
    close = find_column(rows, ("adj_close",)) or find_column(rows, ("close",))
    index = [_bar_times(rows[time], path), rows[symbol].astype(str)]
    table = rows.set_index(index)
    repeated = table.index.duplicated()
    if repeated.any():
        at, which = table.index[repeated][0]
        raise DataError(path, f"holds two bars of {which} at {at}; keep one")

    def wide(column: str) -> pd.DataFrame:
        values = numbers(table[column], path).unstack(level=1)
        return values.rename_axis(index="time", columns="symbol").sort_index()

    found = {name: find_column(rows, (name,)) for name in BAR_FIELDS}
    return Prices(
        wide(str(close)), {name: wide(column) for name, column in found.items() if column}
    )


def _from_wide(rows: pd.DataFrame, path: Path) -> pd.DataFrame:
    if rows.shape[1] < 2:
        raise DataError(path, "expected a column of times and at least one symbol's closes")
    times = _bar_times(rows.iloc[:, 0], path)
    if not (times.is_monotonic_increasing and times.is_unique):
        raise DataError(path, "dates must rise, one row a bar")
    closes = rows.iloc[:, 1:].apply(numbers, path=path)
    return closes.set_axis(pd.DatetimeIndex(times, name="time"))


def _bar_times(values: pd.Series, path: Path) -> pd.Series:
    """Times in UTC, of the same index; a date alone is its midnight."""
    text = values.astype("string")
    try:
        times = pd.to_datetime(text, format="ISO8601", utc=True)
    except ValueError as error:
        raise DataError(
            path,
            f"expected times such as 2024-05-31T20:00:00Z or dates in {values.name!r}: "
            f"{error}",
        ) from error
    if times.isna().any():
        raise DataError(
            path, f"lacks a time in {values.name!r}, row {times.isna().argmax()}"
        )
    bare = ~text.str.contains(_ZONE, regex=True) & (times != times.dt.normalize())
    if bare.any():
        raise DataError(
            path,
            f"{values.name!r} has times without a zone, such as {text[bare].iloc[0]!r}: "
            "write them in UTC, with a Z at the end "
            "(pandas: .dt.tz_localize(ZONE).dt.tz_convert('UTC'))",
        )
    return times


def _check(closes: pd.DataFrame, path: Path) -> None:
    wrong = (closes <= 0) | np.isinf(closes)
    if wrong.any(axis=None):
        row, column = np.argwhere(wrong.to_numpy())[0]
        raise DataError(
            path,
            f"holds a close that is not above 0: {closes.to_numpy()[row, column]} of "
            f"{closes.columns[column]} at {closes.index[row]}; leave a missing close empty",
        )
