"""Tables from files, a block of rows at a time, as the client's batches read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from megatick_client.batches.blocks import Block
from megatick_client.batches.errors import SourceError
from megatick_client.batches.reading import read_blocks
from megatick_client.batches.sources import Source, find_files
from megatick_training.errors import DataError


def read_tables(pattern: str | Path) -> Iterator[Block]:
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
        yield from read_blocks([Source.of(path) for path in find_files(pattern)])
    except SourceError as error:
        raise DataError(Path(error.source), error.problem) from error


def read_rows(path: Path, needed: Sequence[str]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Read rows one after another.

    Args:
        path: a file, or a folder or glob of files, as ``read_tables`` takes them.
        needed: columns that must be there.

    Yields:
        Where a row stands, and its values by column.

    Raises:
        DataError: as ``read_tables``, a column is missing, or a row could not be read.
    """
    for block in read_tables(path):
        for place, problem in block.problems.items():
            raise DataError(path, f"line {block.lines[place]}: {problem}")
        columns = block.table.column_names
        for column in needed:
            if column not in columns:
                raise DataError(path, f"lacks column {column!r}, it has {columns}")
        for line, row in zip(block.lines, block.table.to_pylist(), strict=True):
            yield f"line {line}", row
