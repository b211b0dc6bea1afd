"""Tables from CSV, JSON lines and Parquet, as batches read them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final, overload

import pandas as pd
import pyarrow as pa

from megatick_contract import tables
from megatick_contract.errors import TableError
from megatick_contract.tables import Block, Source, find_files, joined
from megatick_training.errors import DataError, TimeError
from megatick_training.times import utc_times

SYMBOL_NAMES: Final = ("symbol", "ticker")

_NO_NUMBER: Final = ("", "NA", "N/A", "NaN", "nan", "null", "None")
"""What pandas, R and JSON write where a number is missing."""


def input_files(pattern: str | Path) -> tuple[Path, ...]:
    """Find a file, the files of a folder or those of a glob, in the order of their paths.

    Raises:
        DataError: there is none, or one of another kind.
    """
    try:
        return find_files(pattern)
    except TableError as error:
        raise DataError(error.source, error.problem) from error


def read_blocks(pattern: str | Path) -> Iterator[Block]:
    """Read a file, the files of a folder or those of a glob, in bounded memory.

    Args:
        pattern: of CSV or JSON lines (also ``.gz``, ``.zst``) or Parquet files.

    Yields:
        Blocks of rows; the columns of a CSV are text, and a row that could not be read is
        one with a problem.

    Raises:
        DataError: a file is absent, damaged, or of another kind.
    """
    try:
        yield from tables.read_blocks([Source.of(path) for path in input_files(pattern)])
    except TableError as error:
        raise DataError(error.source, error.problem) from error


def read_table(path: Path) -> pd.DataFrame:
    """Read one file of what ``read_blocks`` reads, whole.

    Returns:
        The rows, indexed by the line at which each begins, from 1 (of a Parquet file, the
        row).  A CSV file's values stay strings, so that the symbol 000001 keeps its zeros
        and the symbol NA is one.

    Raises:
        DataError: as ``read_blocks``, a row could not be read, or there is none.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "none"
        raise DataError(path, f"expected a file, found {found}")
    blocks = []
    for block in read_blocks(path):
        for place, problem in block.problems.items():
            raise DataError(path, f"line {block.lines[place]}: {problem}")
        blocks.append(block)
    lines = [line for block in blocks for line in block.lines]
    if not lines:
        raise DataError(path, "holds no row")
    table = joined([block.table for block in blocks])
    rows: pd.DataFrame = table.to_pandas(integer_object_nulls=True, date_as_object=False)
    for name in _mixed(table.schema, blocks):
        values = [value for block in blocks for value in values_of(block, name)]
        rows[name] = pd.Series(values, dtype=object)
    rows = rows.set_axis(pd.Index(lines, name="line")).rename(columns=str.strip)
    if not rows.columns.is_unique:
        twice = rows.columns[rows.columns.duplicated()][0]
        raise DataError(
            path, f"has two columns {twice!r} that spaces alone tell apart: rename one"
        )
    return rows


def _mixed(schema: pa.Schema, blocks: Sequence[Block]) -> set[str]:
    """The columns that are text for want of another type, as of mixed JSON lines."""
    texts = {each.name for each in schema if pa.types.is_string(each.type)}
    return {
        each.name
        for block in blocks
        for each in block.table.schema
        if each.name in texts
        and (block.written.get(each.name) or not pa.types.is_string(each.type))
    }


def values_of(block: Block, name: str) -> list[Any]:
    """A column as JSON lines have it: of what is no text beside texts, not its JSON."""
    if name not in block.table.column_names:
        return [None] * block.rows
    written = block.written.get(name, frozenset())
    return [
        json.loads(value) if place in written else value
        for place, value in enumerate(block.table[name].to_pylist())
    ]


@overload
def find_column(rows: pd.DataFrame, names: Sequence[str]) -> str | None: ...
@overload
def find_column(rows: pd.DataFrame, names: Sequence[str], *, required_in: Path) -> str: ...
def find_column(
    rows: pd.DataFrame, names: Sequence[str], *, required_in: Path | None = None
) -> str | None:
    """The column with the first of these names; case and spaces do not count ("Adj Close").

    Where columns differ by those alone, it is the one that is written as the name is, or
    the first.

    Raises:
        DataError: there is none, and it is required in that file.
    """
    columns = [str(column) for column in rows.columns]
    plain = {each.lower().replace(" ", "_"): each for each in reversed(columns)}
    plain |= {each: each for each in columns}
    found = next((plain[name] for name in names if name in plain), None)
    if found is None and required_in is not None:
        wanted = " or ".join(map(repr, names))
        raise DataError(required_in, f"lacks column {wanted}, it has {list(rows.columns)}")
    return found


def texts_in(values: pd.Series, path: Path) -> pd.Series:
    """Text as ``strings`` gives it, of a column that holds nothing else but numbers.

    Raises:
        DataError: a value is bytes, or a list or an object, which would be their Python.
    """
    other = values.map(
        lambda each: isinstance(each, bytes) or pd.api.types.is_list_like(each)
    )
    if other.any():
        raise DataError(
            path,
            f"line {other.idxmax()}, {values.name!r}: expected text, found "
            f"{values[other].iloc[0]!r:.60}: write the column as strings",
        )
    return strings(values)


def strings(values: pd.Series) -> pd.Series:
    """Text, empty where there is none."""
    return values.astype(object).fillna("").astype(str)


def numbers(values: pd.Series, path: Path) -> pd.Series:
    """float64, NaN where there is none.

    Raises:
        DataError: a value is not a number.
    """
    try:
        return pd.to_numeric(values.mask(values.isin(_NO_NUMBER))).astype("float64")
    except (ValueError, TypeError) as error:
        raise DataError(path, f"expected numbers in {values.name!r}: {error}") from error


def times(values: pd.Series, path: Path, *, dates: bool = False) -> pd.DatetimeIndex:
    """Times as ``utc_times`` reads them.

    Raises:
        DataError: one is absent, is no time, or has no zone.
    """
    try:
        return utc_times(values, what=str(values.name), dates=dates)
    except TimeError as error:
        raise DataError(
            path,
            f"line {values.index[error.place]}, {values.name!r}: expected "
            f"{error.expected}, found {error.found!r:.60}",
        ) from error


def symbols_of(values: pd.Series) -> tuple[tuple[str, ...], ...]:
    """The symbols of each row: none, one, or those of a list, each once.

    Spaces around a symbol do not count.
    """
    return tuple(tuple(dict.fromkeys(_symbols(value))) for value in values)


def _symbols(value: Any) -> tuple[str, ...]:
    if pd.api.types.is_list_like(value):
        return tuple(symbol for each in value for symbol in _symbols(each))
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # as pandas holds a column of numbers that lacks one
    symbol = "" if pd.isna(value) else str(value).strip()
    return (symbol,) if symbol else ()
