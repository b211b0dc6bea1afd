"""A few consecutive rows of the input, on their way to the output."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import pyarrow as pa


@dataclass(frozen=True)
class Block:
    """Consecutive rows of one file.

    Attributes:
        first: number of its first row in the whole input, from 0.
        file: where they come from.
        lines: in the file, from 1, at which each row begins; of a Parquet file, its rows.
        table: the input's columns, one row each; nulls in a row that could not be read.
        problems: of rows that cannot be scored, by their place in the block.
        read_bytes: of the whole input, up to its end, as far as the reader can tell.
        written: the places where a column of text held something else, which is there as
            its JSON; by the column's name.
    """

    first: int
    file: str
    lines: tuple[int, ...]
    table: pa.Table
    problems: Mapping[int, str] = field(default_factory=dict)
    read_bytes: int = 0
    written: Mapping[str, frozenset[int]] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of it, those with problems included."""
        return len(self.lines)

    @property
    def stop(self) -> int:
        """Number of the first row after it."""
        return self.first + self.rows

    def after(self, row: int) -> Block:
        """The same without the rows before that number of the whole input."""
        skipped = max(0, row - self.first)
        return Block(
            self.first + skipped,
            self.file,
            self.lines[skipped:],
            self.table.slice(skipped),
            {
                place - skipped: problem
                for place, problem in self.problems.items()
                if place >= skipped
            },
            self.read_bytes,
            {
                name: frozenset(place - skipped for place in places if place >= skipped)
                for name, places in self.written.items()
            },
        )
