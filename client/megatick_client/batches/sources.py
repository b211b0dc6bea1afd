"""The files that a batch reads, and whether they are at a resume what they were."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from megatick_client.batches.errors import SourceError
from megatick_contract import tables
from megatick_contract.errors import TableError
from megatick_contract.tables import Block, Source


def find_files(pattern: Path) -> tuple[Path, ...]:
    """Return a file, the readable files of a folder, or those that a glob matches.

    Raises:
        SourceError: nothing is there, or nothing that can be read.
    """
    try:
        return tables.find_files(pattern)
    except TableError as error:
        raise SourceError(error.source, error.problem) from error


def read_blocks(sources: Sequence[Source], *, after: int = 0) -> Iterator[Block]:
    """Read the rows of all files, one file after another, but for those before a number.

    Raises:
        SourceError: a file as a whole cannot be read.
    """
    try:
        yield from tables.read_blocks(sources, after=after)
    except TableError as error:
        raise SourceError(error.source, error.problem) from error


def check_unchanged(source: Source) -> None:
    """Hold a file to what it was when the batch began.

    Raises:
        SourceError: it is gone, or another one.
    """
    if not source.path.is_file():
        raise SourceError(source.path, "was there when the batch began, and is gone")
    if source.path.stat().st_size != source.size or Source.of(source.path) != source:
        raise SourceError(
            source.path,
            "has changed since the batch began, so that its rows are no longer those "
            "that were scored.  Put the old file back, or begin another batch.",
        )
