"""A file cleaned, in bounded memory: once to count what repeats, once to write."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from megatick_contract import MAX_TEXT_BYTES
from megatick_contract.files import whole
from megatick_contract.tables import Block, common_schema, line_of, rows_of
from megatick_training.cleaning.duplicates import Duplicates
from megatick_training.cleaning.repeats import RepeatedPassages
from megatick_training.cleaning.report import CleaningReport, Dropped, Reason, Tally
from megatick_training.cleaning.steps import CleaningOptions, steps_of
from megatick_training.errors import DataError
from megatick_training.tables import input_files, read_blocks, values_of

SOURCE_ROW: Final = "source_row"
ORIGINAL: Final = "original"
_REPEATED: Final = "repeated passages"
_SHOWN: Final = 200
_GROUP_ROWS: Final = 16_384  # of Parquet

Row = dict[str, Any]


def clean_file(
    source: str | Path, out: Path, *, options: CleaningOptions | None = None
) -> CleaningReport:
    """Clean the texts of a table, and write what is left of it.

    Args:
        source: CSV or JSON lines (also ``.gz``, ``.zst``) or Parquet; a folder or a glob.
        out: a ``.parquet`` or ``.jsonl`` to write: the columns of the input, the texts
            clean, and ``source_row``, the row's number in the whole input, from 0.  Beside
            it ``OUT.dropped.jsonl`` lists the rows that it lacks.
        options: what is done.

    Raises:
        DataError: the input cannot be read, lacks the column or holds no text in it, or has
            a column of a name that is added; or the output is of another kind, has no
            folder, or is the input.
    """
    options = options or CleaningOptions()
    if out.suffix not in _WRITERS:
        raise DataError(out, f"expected a name that ends in {' or '.join(_WRITERS)}")
    if not out.parent.is_dir():
        raise DataError(out, f"its folder {out.parent} is not there: make it first")
    dropped_path = out.with_name(f"{out.name}.dropped.jsonl")
    for written in (out, dropped_path):
        if written.exists() and any(map(written.samefile, input_files(source))):
            raise DataError(
                written, "is the input, or of it, and would be gone: write to another file"
            )
    cleaner = _Cleaner(options)
    schema = cleaner.look_through(source)
    with ExitStack() as stack:
        unfinished = stack.enter_context(whole(out))
        dropped = stack.enter_context(whole(dropped_path)).open("w", encoding="utf-8")
        stack.callback(dropped.close)
        write = stack.enter_context(_WRITERS[out.suffix](unfinished, schema))
        for block in read_blocks(source):
            kept, lost = cleaner.clean(block)
            write(kept)
            for each in lost:
                dropped.write(line_of(asdict(each)))
        dropped.close()
    return cleaner.tally.report()


class _Cleaner:
    """The steps, and what has to be remembered from row to row."""

    def __init__(self, options: CleaningOptions) -> None:
        self._options = options
        self._steps = steps_of(options)
        self._passages = RepeatedPassages()
        self._duplicates = Duplicates(at_least=options.resemblance)
        self._labels: dict[int, object] = {}
        names = [step.name for step in self._steps]
        self.tally = Tally([*names, _REPEATED] if options.repeated_passages else names)

    def look_through(self, source: str | Path) -> pa.Schema:
        """Count the passages of every text, and find the schema of the output."""
        column, added = self._options.column, self._added()
        schema = pa.schema([])
        unread = ""
        for block in read_blocks(source):
            for place, problem in block.problems.items():
                unread = (
                    unread or f" that can be read: line {block.lines[place]}: {problem}"
                )
            names = block.table.column_names
            if names and column not in names:
                raise DataError(Path(source), f"lacks column {column!r}, it has {names}")
            if names and not _holds_text(kind := block.table.schema.field(column).type):
                raise DataError(
                    Path(source),
                    f"has {kind} in column {column!r}, expected text: write it as strings",
                )
            taken = set(names) & set(added.names)
            if taken:
                raise DataError(
                    Path(source), f"has a column {min(taken)!r}, which is added: rename it"
                )
            schema = (
                common_schema([schema, block.table.schema])
                if len(schema)
                else (block.table.schema.remove_metadata())
            )
            if self._options.repeated_passages:
                for row in rows_of(block.table):
                    text = self._step_by_step(str(row[column] or ""))
                    self._passages.add(_source(row), text)
        if not len(schema):
            raise DataError(Path(source), f"holds no row{unread}")
        place = schema.get_field_index(column)
        schema = schema.set(place, pa.field(column, pa.string()))
        return pa.schema([*schema, *added])

    def clean(self, block: Block) -> tuple[list[Row], list[Dropped]]:
        """Clean a block's rows: those that are kept, and those that are not."""
        kept: list[Row] = []
        lost: list[Dropped] = []
        # Where no row of a block could be read, its table has no column either.
        rows = list(_rows(block)) or [{}] * block.rows
        problems = {**_no_texts(rows, self._options.column), **block.problems}
        for place, row in enumerate(rows):
            number = block.first + place
            self.tally.rows += 1
            original = "" if place in problems else row[self._options.column]
            text = self._text(_source(row), str(original or ""))
            reason, repeats = self._reason(number, row, original, text)
            if place in problems:
                reason, original = "unreadable", problems[place]
            if reason is None:
                kept.append(self._row(row, number, str(original), text))
            else:
                self.tally.dropped[reason] += 1
                shown = str(original or "")[:_SHOWN]
                lost.append(Dropped(number, block.lines[place], reason, repeats, shown))
        return kept, lost

    def _text(self, source: str, original: str) -> str:
        text = self._step_by_step(original, counted=True)
        if not self._options.repeated_passages:
            return text
        left = self._passages.drop(
            source, text, dropped=lambda each: self.tally.passages.update([each])
        ).strip()
        self.tally.steps[_REPEATED] += left != text
        return left

    def _step_by_step(self, text: str, *, counted: bool = False) -> str:
        for step in self._steps:
            after = step.apply(text)
            self.tally.steps[step.name] += counted and after != text
            text = after
        return text

    def _reason(
        self, number: int, row: Row, original: object, text: str
    ) -> tuple[Reason | None, int | None]:
        """Why a row is dropped, and the row that it repeats."""
        if not str(original or "").strip():
            return "empty", None
        if not text:
            return "nothing left", None
        if len(text.encode()) > MAX_TEXT_BYTES:
            return "too long", None
        if not self._options.near_duplicates:
            return None, None
        repeat = self._duplicates.find_or_keep(number, text, original=str(original))
        if repeat is None:
            self._labels[number] = row.get("label")
            return None, None
        self.tally.other_labels += self._labels[repeat.row] != row.get("label")
        return repeat.reason, repeat.row

    def _row(self, row: Row, number: int, original: str, text: str) -> Row:
        added: Row = {SOURCE_ROW: number}
        if self._options.original:
            added[ORIGINAL] = original
        return {**row, self._options.column: text, **added}

    def _added(self) -> pa.Schema:
        fields = [pa.field(SOURCE_ROW, pa.int64())]
        if self._options.original:
            fields.append(pa.field(ORIGINAL, pa.string()))
        return pa.schema(fields)


def _holds_text(kind: pa.DataType) -> bool:
    """Whether values of a type have one way to be written; bytes and lists have none."""
    if pa.types.is_dictionary(kind):
        return _holds_text(kind.value_type)
    bytes_ = pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary
    return not (pa.types.is_nested(kind) or any(is_one(kind) for is_one in bytes_))


def _rows(block: Block) -> Iterator[Row]:
    """A block's rows; a list or an object beside texts is there, and not its JSON."""
    written = {
        name: values_of(block, name) for name, places in block.written.items() if places
    }
    for place, row in enumerate(rows_of(block.table)):
        found = {name: values[place] for name, values in written.items()}
        nested = {
            name: value for name, value in found.items() if isinstance(value, list | dict)
        }
        yield row | nested


def _no_texts(rows: list[Row], column: str) -> dict[int, str]:
    """Which rows have a list or an object where a text is expected, and what it is."""
    return {
        place: f"expected text, found {row[column]!r}"
        for place, row in enumerate(rows)
        if isinstance(row.get(column), list | dict)
    }


def _source(row: Row) -> str:
    return str(row.get("source") or "")


@contextmanager
def _parquet(path: Path, schema: pa.Schema) -> Iterator[Callable[[list[Row]], None]]:
    with pq.ParquetWriter(path, schema, compression="zstd") as file:
        held: list[Row] = []

        def write_held() -> None:
            try:
                table = pa.Table.from_pylist(held, schema)
            except (pa.ArrowException, OverflowError) as error:
                raise DataError(
                    path, f"a column has values of no common type ({error}): write .jsonl"
                ) from error
            file.write_table(table)
            held.clear()

        def write(rows: list[Row]) -> None:
            held.extend(rows)
            if len(held) >= _GROUP_ROWS:
                write_held()

        yield write
        write_held()


@contextmanager
def _json_lines(path: Path, schema: pa.Schema) -> Iterator[Callable[[list[Row]], None]]:
    with path.open("w", encoding="utf-8") as file:

        def write(rows: list[Row]) -> None:
            for row in rows:
                file.write(line_of(row))

        yield write


_WRITERS: Final = {".parquet": _parquet, ".jsonl": _json_lines}
