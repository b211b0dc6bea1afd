"""A recorded tape: rows with the times at which they really arrived."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from megatick_client.load.errors import InputError
from megatick_client.load.schedule import FloatArray, Schedule
from megatick_client.load.tables import column_of, read_table

if TYPE_CHECKING:
    import pandas as pd

TIME_COLUMN: Final = "time"

_NO_SECONDS: Final = 1e11
"""Seconds since 1970 reach it in the year 5138, milliseconds did in 1973."""


def read_tape(path: Path, *, time_column: str = TIME_COLUMN, speed: float = 1) -> Schedule:
    """Read when the rows of a tape arrived; call ``i`` is due when row ``i`` was.

    Args:
        path: a CSV, JSONL or Parquet file in the order of its times.
        time_column: seconds as numbers, from any origin; or time stamps: ISO 8601 text
            (one without a zone is UTC) or Parquet's own.
        speed: how many times as fast as it was recorded, > 0.

    Returns:
        The plan, beginning with the first row.  It lasts a mean gap beyond the last.

    Raises:
        InputError: no such column, a time that is none or no second, rows out of order
            (named), or all at one time.
        ScheduleError: the speed is not above 0.
    """
    column = column_of(read_table(path), time_column, path)
    times_s = _seconds(column, path, time_column)
    backwards = np.flatnonzero(np.diff(times_s) < 0)
    if len(backwards):
        row = int(backwards[0]) + 1
        raise InputError(
            path,
            f"expected rows in the order of {time_column!r}, found row {row} (from 0) "
            f"before its predecessor: {column.iloc[row]} after {column.iloc[row - 1]}.  "
            "Sort the file by that column.",
        )
    starts_s = times_s - times_s[0]
    span_s = float(starts_s[-1])
    if not span_s:
        raise InputError(
            path, f"expected rows at different times, found {len(starts_s)} at one"
        )
    rows = len(starts_s)
    plan = Schedule(
        f"tape {path.name}, {rows:,} rows", starts_s, span_s * rows / (rows - 1)
    )
    return plan.faster(speed)


def _seconds(column: pd.Series[Any], path: Path, name: str) -> FloatArray:
    """Read numbers as seconds, anything else as time stamps."""
    import pandas as pd

    try:
        if pd.api.types.is_numeric_dtype(column):
            seconds = column.to_numpy(np.float64)
        else:
            stamps = pd.to_datetime(column, utc=True, format="ISO8601")
            # From the first one: a float64 of seconds since 1970 keeps no microseconds.
            seconds = (stamps - stamps.iloc[0]).dt.total_seconds().to_numpy(np.float64)
    except (ValueError, TypeError) as error:
        why = str(error).partition(". ")[0]  # pandas goes on with arguments of its own
        raise InputError(
            path,
            f"column {name!r} holds no times ({why}): expected numbers of seconds, or ISO "
            "8601.",
        ) from error
    bad = np.flatnonzero(~np.isfinite(seconds))
    if len(bad):
        row = int(bad[0])
        raise InputError(
            path,
            f"row {row} (from 0) of {name!r}: expected a time, found {column.iloc[row]}",
        )
    if abs(seconds[0]) >= _NO_SECONDS:
        raise InputError(
            path,
            f"row 0 of {name!r}: expected seconds, found {column.iloc[0]}, which counts "
            "something shorter.  Divide milliseconds by 1e3, nanoseconds by 1e9.",
        )
    return seconds
