"""Frames of any library to a file that a batch can read again."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from megatick_client.batches.errors import SourceError
from megatick_contract.files import whole


def keep_frame(frame: Any, path: Path) -> None:
    """Write a frame to a Parquet file.

    Args:
        frame: of pandas, polars or Arrow, or whatever else speaks Arrow's C stream.  The
            index of a pandas frame becomes columns, unless it only numbers the rows.
        path: where to.

    Raises:
        SourceError: it is no frame, or Parquet cannot hold it.
    """
    table = table_of(frame)
    try:
        with whole(path) as unfinished:
            pq.write_table(table, unfinished, compression="zstd")
    except pa.ArrowException as error:
        raise SourceError("frame", f"Parquet cannot hold it: {error}") from error


def table_of(frame: Any) -> pa.Table:
    """Turn a frame into an Arrow table.

    Raises:
        SourceError: it is no frame, or Arrow cannot hold it.
    """
    pandas: Any = sys.modules.get("pandas")  # who passes a frame has imported it
    try:
        if pandas is not None and isinstance(frame, pandas.DataFrame):
            index = frame.index
            numbered = isinstance(index, pandas.RangeIndex) and index.name is None
            frame = frame if numbered else frame.reset_index()
            table = pa.Table.from_pandas(frame, preserve_index=False)
            return table.replace_schema_metadata(None)
        if isinstance(frame, pa.Table):
            return frame
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise SourceError("frame", f"Arrow cannot hold it: {error}") from error
    raise SourceError(
        "source",
        "expected a path, or a frame of pandas, polars or Arrow, found "
        f"{type(frame).__name__}",
    )
