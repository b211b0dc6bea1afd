"""The rows that are done: files in the job's folder, each there whole or not at all.

``000000000000-000000008192.parquet`` holds what was scored of those rows of the input, and
a file of the same name in ``.errors.jsonl`` what was not.  The Parquet file is written
last: with it the rows are done, without it they are not.  So the row at which the last one
ends is where a resume begins, and no row can be done twice.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from megatick_client.batches.errors import JobError
from megatick_client.batches.pipeline import Scored
from megatick_client.batches.settings import BatchSettings
from megatick_contract.files import whole
from megatick_contract.tables import Block, joined, line_of, rows_of

PART_ROWS: Final = 8192
PART_S: Final = 30.0
"""A part is written at so many rows, or when it is so old: what a crash costs."""

PART_BYTES: Final = 64 << 20
"""Or at so many bytes of the input's columns: what a batch holds in memory."""

_NAME: Final = re.compile(r"(\d{12})-(\d{12})\.parquet")


@dataclass(frozen=True)
class Part:
    """Rows that are done.

    Attributes:
        path: of its Parquet file.
        first: number of its first row in the input.
        stop: number of the first row after it.
    """

    path: Path
    first: int
    stop: int

    @property
    def errors(self) -> Path:
        """Its rows that could not be scored, a JSON object a line."""
        return self.path.with_suffix(".errors.jsonl")

    @property
    def scored(self) -> int:
        """Rows of it that were scored."""
        return int(pq.read_metadata(self.path).num_rows)


def parts_in(folder: Path) -> tuple[Part, ...]:
    """List the parts in their order.

    Raises:
        JobError: rows are missing between two of them.
    """
    parts = sorted(
        (
            Part(path, int(match[1]), int(match[2]))
            for path in folder.glob("*.parquet")
            if (match := _NAME.fullmatch(path.name))
        ),
        key=lambda part: part.first,
    )
    stop = 0
    for part in parts:
        if part.first != stop:
            raise JobError(
                folder,
                f"expected a part that begins at row {stop}, found {part.path.name}.  Was "
                "a file deleted?  Delete the parts after that row, too, and resume.",
            )
        stop = part.stop
    return tuple(parts)


@dataclass(eq=False)
class PartWriter:
    """Gathers scored blocks, and writes a part when there is enough of them.

    Attributes:
        folder: of the parts.
        settings: of the batch.
    """

    folder: Path
    settings: BatchSettings
    _held: list[Scored] = field(default_factory=list)
    _since_s: float = 0.0
    _bytes: int = 0

    def add(self, scored: Scored) -> None:
        """Take the block that follows the last one."""
        if not self._held:
            self._since_s = time.monotonic()
        self._held.append(scored)
        self._bytes += scored.block.table.nbytes
        rows = scored.block.stop - self._held[0].block.first
        old = time.monotonic() - self._since_s >= PART_S
        if rows >= PART_ROWS or self._bytes >= PART_BYTES or old:
            self.flush()

    def flush(self) -> None:
        """Write what is held."""
        if not self._held:
            return
        first, stop = self._held[0].block.first, self._held[-1].block.stop
        part = Part(self.folder / f"{first:012}-{stop:012}.parquet", first, stop)
        with whole(part.errors) as path, path.open("w", encoding="utf-8") as file:
            for error in _errors(self._held):
                file.write(line_of(error))
        tables = [self._good(scored) for scored in self._held]
        with whole(part.path) as path:
            pq.write_table(joined(tables), path, compression="zstd")
        self._held.clear()
        self._bytes = 0

    def _good(self, scored: Scored) -> pa.Table:
        """Rows that were scored: the input's columns, then those that the batch adds."""
        block, answers = scored.block, scored.answers
        good = [place for place in range(block.rows) if place not in answers.problems]
        table = block.table
        if table.num_columns == 0:  # Arrow counts no rows without columns
            table = pa.table({self.settings.column: pa.nulls(block.rows)})
        for name, column in answers.columns(self.settings).items():
            table = table.append_column(name, column)
        return table if len(good) == block.rows else table.take(pa.array(good, pa.int64()))


def _errors(held: list[Scored]) -> Iterator[dict[str, Any]]:
    for scored in held:
        block = scored.block
        for place, problem in sorted(scored.answers.problems.items()):
            yield {
                "row": block.first + place,
                "file": block.file,
                "line": block.lines[place],
                "problem": problem,
                "values": _values(block, place),
            }


def _values(block: Block, place: int) -> dict[str, Any] | None:
    """What was read of a row; None where it could not be read at all."""
    values = next(rows_of(block.table.slice(place, 1)), {})
    return values if any(value is not None for value in values.values()) else None
