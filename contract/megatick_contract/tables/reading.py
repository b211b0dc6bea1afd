"""Files to blocks of rows, in bounded memory; what cannot be read is a row with a problem.

CSV and JSON lines are read by Python's own parsers: they know the line that each row begins
at, and go on after a broken one, which Arrow's do not.  The columns of a CSV stay text, as
they are written: a type guessed from the first rows would stop the batch at a later one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import pyarrow as pa
import pyarrow.parquet as pq

from megatick_contract.errors import TableError
from megatick_contract.tables.blocks import Block
from megatick_contract.tables.columns import column_of
from megatick_contract.tables.sources import Source

BLOCK_ROWS: Final = 256
"""Eight requests' rows."""

_SHOWN: Final = 200  # characters of a broken line
_NO_NAMES: Final = "expected a line with the columns' names"

Record: TypeAlias = tuple[int, dict[str, Any] | None, str]
"""The line at which a row begins; its values, or None and what is wrong with it."""


def read_blocks(sources: Sequence[Source], *, after: int = 0) -> Iterator[Block]:
    """Read the rows of all files, one file after another.

    Args:
        sources: the files.
        after: the rows before this number are left out.

    Raises:
        TableError: a file as a whole cannot be read.
    """
    first, before_bytes = 0, 0
    for source in sources:
        try:
            for block in _READERS[source.kind](source, first, before_bytes, after):
                first = block.stop
                if block.stop > after:
                    yield block.after(after)
        except (pa.ArrowException, OSError, EOFError) as error:
            raise TableError(
                source.path, f"cannot be read as {source.kind}: {error}"
            ) from error
        before_bytes += source.size


def _read_parquet(
    source: Source, first: int, before_bytes: int, after: int
) -> Iterator[Block]:
    # Without the pre-buffer a row group is read page by page.
    with pq.ParquetFile(source.path, pre_buffer=False, buffer_size=1 << 20) as file:
        _refuse_twins(source, file.schema_arrow.names)
        total, done = max(1, file.metadata.num_rows), 0
        for group in range(file.num_row_groups):
            rows = file.metadata.row_group(group).num_rows
            if first + done + rows <= after:  # known without reading
                done += rows
                yield Block(first + done, str(source.path), (), pa.table({}))
                continue
            for batch in file.iter_batches(BLOCK_ROWS, row_groups=[group]):
                table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
                lines = tuple(range(done + 1, done + 1 + len(table)))
                start, done = first + done, done + len(table)
                read_bytes = before_bytes + source.size * done // total
                yield Block(start, str(source.path), lines, table, {}, read_bytes)


def _read_lines(
    source: Source, first: int, before_bytes: int, after: int
) -> Iterator[Block]:
    with pa.OSFile(str(source.path)) as raw:
        stream = (
            pa.CompressedInputStream(raw, source.compression)
            if (source.compression)
            else raw
        )
        # What is no UTF-8 becomes half a surrogate pair, which no column takes: the row
        # is found there, and the file is read on.
        text = io.TextIOWrapper(
            io.BufferedReader(stream, 1 << 20),
            encoding="utf-8-sig",
            errors="surrogateescape",
            newline="",
        )
        records = (_csv_records if source.kind == "csv" else _json_records)(source, text)
        held: list[Record] = []
        for record in records:
            held.append(record)
            if len(held) == BLOCK_ROWS:
                block = _block(source, first, held, before_bytes + raw.tell())
                yield block
                first, held = block.stop, []
        if held:
            yield _block(source, first, held, before_bytes + source.size)


def _refuse_twins(source: Source, names: Sequence[str]) -> None:
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise TableError(source.path, f"has two columns of the name {twice!r}")


_READERS: Final = {"csv": _read_lines, "jsonl": _read_lines, "parquet": _read_parquet}


def _csv_records(source: Source, text: Iterable[str]) -> Iterator[Record]:
    tab = source.path.name.lower().split(".")[-1 - bool(source.compression)] == "tsv"
    ended = False

    def lines() -> Iterator[str]:
        nonlocal ended
        yield from text
        ended = True  # who asks for more within a row is inside an open quote

    reader = csv.reader(lines(), delimiter="\t" if tab else ",")
    try:
        names = next(reader, None)
    except csv.Error as error:
        raise TableError(source.path, f"{_NO_NAMES} ({error}): an open quote?") from error
    if not names:
        raise TableError(source.path, f"{_NO_NAMES}, found none")
    if ended:
        raise TableError(source.path, f"{_NO_NAMES}, found a quote that nothing closes")
    try:
        "".join(names).encode()
    except UnicodeEncodeError as error:
        raise TableError(
            source.path, "expected UTF-8, found other bytes in its first line"
        ) from error
    _refuse_twins(source, names)
    while True:
        line = reader.line_num + 1
        try:
            values = next(reader)
            if ended:
                raise csv.Error("the file ends in a quote")
        except StopIteration:
            return
        except csv.Error as error:
            last = reader.line_num
            yield line, None, f"lines {line} to {last} are no CSV ({error}): an open quote?"
            continue
        if len(values) == len(names):
            yield line, dict(zip(names, values, strict=True)), ""
        elif values:  # a blank line is no row
            found = ",".join(values)
            yield (
                line,
                None,
                (f"expected {len(names)} fields, found {len(values)}: {found!r:.{_SHOWN}}"),
            )


def _json_records(source: Source, text: Iterable[str]) -> Iterator[Record]:
    for line, written in enumerate(text, start=1):
        if not written.strip():
            continue
        try:
            value = json.loads(written)
        except (ValueError, RecursionError) as error:
            yield line, None, f"is no JSON ({error}): {written.strip()!r:.{_SHOWN}}"
            continue
        if isinstance(value, dict):
            yield line, value, ""
        else:
            yield line, None, f"expected a JSON object, found {type(value).__name__}"


def _block(source: Source, first: int, records: list[Record], read_bytes: int) -> Block:
    """Turn records into columns; a row that no column takes becomes one with a problem."""
    problems = {place: why for place, (_, row, why) in enumerate(records) if row is None}
    rows = [row or {} for _, row, _ in records]
    names = list(dict.fromkeys(name for row in rows for name in row))
    try:
        table = _table(names, rows)
    except UnicodeEncodeError:
        for place, row in enumerate(rows):
            try:
                _table(list(row), [row])
            except UnicodeEncodeError as error:
                problems[place] = (
                    "expected UTF-8, found other bytes or half of a surrogate pair: "
                    f"{error.object[max(0, error.start - 20) : error.end + 20]!r:.{_SHOWN}}"
                )
                rows[place] = {}
        names = list(dict.fromkeys(name for row in rows for name in row))
        table = _table(names, rows)
    lines = tuple(line for line, _, _ in records)
    written = _written(table, rows) if source.kind == "jsonl" else {}
    return Block(first, str(source.path), lines, table, problems, read_bytes, written)


def _written(table: pa.Table, rows: Sequence[dict[str, Any]]) -> dict[str, frozenset[int]]:
    """Where values that are no text stand as their JSON among texts, by column."""
    return {
        column.name: frozenset(
            place
            for place, row in enumerate(rows)
            if not isinstance(row.get(column.name), str | None)
        )
        for column in table.schema
        if pa.types.is_string(column.type)
    }


def _table(names: list[str], rows: list[dict[str, Any]]) -> pa.Table:
    return pa.table([column_of([row.get(name) for row in rows]) for name in names], names)
