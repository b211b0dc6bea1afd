"""Files as traders keep them (CSV, JSON lines, Parquet, plain text) to columns."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from megatick_client.load.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

TEXT_COLUMN: Final = "text"
ENDINGS: Final = (".csv", ".jsonl", ".parquet", ".txt")
_COMPRESSED: Final = frozenset({".gz", ".bz2", ".zip", ".xz", ".zst"})
"""Endings that pandas undoes by itself."""


def read_table(path: Path) -> pd.DataFrame:
    """Read a file's columns; of plain text, one column ``text`` of its lines.

    Args:
        path: its ending says what it holds: .csv, .jsonl (an object a line), .parquet or
            .txt (blank lines are left out); CSV and JSON lines may be compressed.

    Raises:
        InputError: another ending, no such file, or it is not what its ending says.
    """
    import pandas as pd

    kind = _ending(path)
    if kind not in ENDINGS:
        raise InputError(
            path, f"expected a name that ends in {', '.join(ENDINGS)}, found {path.name!r}"
        )
    try:
        if kind == ".csv":  # "NA" and "null" are texts; an empty cell is none
            table = pd.read_csv(path, keep_default_na=False, na_values=[""])
        elif kind == ".jsonl":  # "12" is a text; dates are left to whoever reads them
            table = pd.read_json(path, lines=True, dtype=False)
        elif kind == ".parquet":
            table = pd.read_parquet(path)
        else:
            lines = path.read_text(encoding="utf-8").splitlines()
            table = pd.DataFrame({TEXT_COLUMN: [each for each in lines if each.strip()]})
    except (ValueError, OSError, EOFError) as error:
        raise InputError(path, f"cannot be read as {kind}: {error}") from error
    if not len(table):
        raise InputError(path, "expected at least one row, found none")
    return table


def files_of(path: Path) -> tuple[Path, ...]:
    """Return the file itself, or the files in a folder that ``read_table`` reads, by name.

    Raises:
        InputError: nothing is there, or a folder with no such file.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise InputError(path, "expected a file or a folder, found nothing")
    found = sorted(each for each in path.iterdir() if _ending(each) in ENDINGS)
    if not found:
        raise InputError(
            path, f"expected files that end in {', '.join(ENDINGS)}, found none"
        )
    return tuple(found)


def column_of(table: pd.DataFrame, column: str, path: Path) -> pd.Series[str]:
    """Return a column by its name.

    Raises:
        InputError: the file has no such column; names those it has.
    """
    if column not in table.columns:
        has = ", ".join(map(repr, table.columns))
        raise InputError(path, f"expected a column {column!r}, found {has}")
    return table[column]


def texts_of(table: pd.DataFrame, path: Path, column: str = TEXT_COLUMN) -> list[str]:
    """Return the texts of a column, one a row.

    Raises:
        InputError: no such column, or a row of it holds no text; names the row.
    """
    values: Sequence[object] = column_of(table, column, path).tolist()
    for row, value in enumerate(values):
        if not (isinstance(value, str) and value.strip()):
            raise InputError(
                path,
                f"row {row} (from 0) of {column!r}: expected a text, found {value!r:.40}.  "
                "Drop the row.",
            )
    return [str(value) for value in values]


def stem_of(path: Path) -> str:
    """Name of a file without its endings: ``AAPL`` of ``AAPL.csv.gz``."""
    name = path.name
    for _ in range(2):
        for ending in (*ENDINGS, *_COMPRESSED):
            name = name.removesuffix(ending)
    return name


def _ending(path: Path) -> str:
    """What a file holds, by its ending; a compressed one's is before the last."""
    endings = path.suffixes[-2:]
    if endings and endings[-1] in _COMPRESSED:
        endings.pop()
    return endings[-1].lower() if endings else ""
