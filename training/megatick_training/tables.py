"""Tables whose rows have a symbol and a time: prices, and scored news."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final, overload

import pandas as pd

from megatick_training.errors import DataError

SYMBOL_NAMES: Final = ("symbol", "ticker")

_JSON_LINES: Final = frozenset({".json", ".jsonl", ".ndjson"})


def read_rows(path: Path) -> pd.DataFrame:
    """Read a table as it stands: CSV, JSON lines (both gzip or not) or Parquet.

    A CSV file's values stay strings, so that the symbol 000001 keeps its zeros.

    Raises:
        DataError: no such file, or not such a table, or no row.
    """
    suffix = next(s for s in (*reversed(path.suffixes), "") if s.lower() != ".gz").lower()
    try:
        if suffix == ".parquet":
            rows = pd.read_parquet(path)
        elif suffix in _JSON_LINES:
            rows = pd.read_json(path, lines=True, dtype=False, convert_dates=False)
        else:
            rows = pd.read_csv(path, dtype=str)
    except (OSError, ValueError) as error:
        raise DataError(path, f"is no CSV, JSON lines or Parquet table: {error}") from error
    if rows.empty:
        raise DataError(path, "holds no row")
    if not isinstance(rows.index, pd.RangeIndex):  # a Parquet file may index by its time
        rows = rows.reset_index()
    return rows.rename(columns=lambda name: str(name).strip())


@overload
def find_column(rows: pd.DataFrame, names: Sequence[str]) -> str | None: ...
@overload
def find_column(rows: pd.DataFrame, names: Sequence[str], *, required_in: Path) -> str: ...
def find_column(
    rows: pd.DataFrame, names: Sequence[str], *, required_in: Path | None = None
) -> str | None:
    """The column with one of these names; case and spaces do not count ("Adj Close").

    Raises:
        DataError: there is none, and it is required in that file.
    """
    plain = {str(column).lower().replace(" ", "_"): str(column) for column in rows.columns}
    found = next((plain[name] for name in names if name in plain), None)
    if found is None and required_in is not None:
        raise DataError(
            required_in,
            f"lacks a column {' or '.join(names)!r}, it has {list(rows.columns)}",
        )
    return found


def numbers(values: pd.Series, path: Path) -> pd.Series:
    """float64, NaN where empty.

    Raises:
        DataError: a value is not a number.
    """
    try:
        return pd.to_numeric(values).astype("float64")
    except (ValueError, TypeError) as error:
        raise DataError(path, f"expected numbers in {values.name!r}: {error}") from error
