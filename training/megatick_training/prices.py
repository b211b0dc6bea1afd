"""Price histories as tables: one column a symbol, one row a bar, oldest first."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from megatick_training.errors import DataError


def read_closes(path: Path) -> pd.DataFrame:
    """Read closes from a CSV file (gzip or not) whose first column is the date.

    Returns:
        float64 closes, > 0 or NaN, indexed by date, rising; one column a symbol.

    Raises:
        DataError: not such a table, dates that do not rise, or a close that is not > 0.
    """
    try:
        closes = pd.read_csv(path, index_col=0, parse_dates=True).astype("float64")
    except (OSError, ValueError) as error:
        raise DataError(path, f"is not a CSV table of closes: {error}") from error
    if closes.empty or not isinstance(closes.index, pd.DatetimeIndex):
        raise DataError(path, "expected a first column of dates and one column a symbol")
    if not closes.index.is_monotonic_increasing or not closes.index.is_unique:
        raise DataError(path, "dates must rise, one row a bar")
    if (closes <= 0).any(axis=None):
        raise DataError(path, "holds a close that is not above 0")
    return closes
