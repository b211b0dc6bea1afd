"""Whether an input has the column of texts, and none of the names that are to be added."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

from megatick_client.batches.errors import SourceError
from megatick_client.batches.settings import BatchSettings
from megatick_client.batches.sources import read_blocks
from megatick_contract.tables import Block, Source


def check_sources(sources: Sequence[Source], settings: BatchSettings) -> None:
    """Look at the first rows of each file, before a batch begins.

    Raises:
        SourceError: a file lacks the column, or has a name of the batch's own.
    """
    for source in sources:
        for block in islice(read_blocks([source]), 1):
            names = block.table.column_names
            if names and settings.column not in names:
                raise SourceError(
                    source.path,
                    f"expected a column {settings.column!r}, found "
                    f"{', '.join(map(repr, names))}.  Name the column of the texts.",
                )
            for name in names:
                # Of JSON lines each row has names of its own; the first one tells.
                mine = source.kind != "jsonl" or block.table[name][0].is_valid
                if mine and name in settings.results:
                    raise SourceError(source.path, _taken(name))


def held_to(block: Block, settings: BatchSettings) -> Block:
    """Give a problem to the rows of a block that the settings do not fit.

    In JSON lines any row may have other names than those before it.
    """
    problems = dict(block.problems)
    table = block.table
    if settings.column not in table.column_names:
        for place in range(block.rows):
            problems.setdefault(place, f"has no column {settings.column!r}")
    else:
        written = block.written.get(settings.column, frozenset())
        for place, value in enumerate(table[settings.column].to_pylist()):
            if not isinstance(value, str):
                found = f"{value!r:.40} ({type(value).__name__})"
                problems.setdefault(place, f"expected a str, found {found}")
            elif place in written:
                problems.setdefault(place, f"expected a str, found the JSON {value:.40}")
    for name in set(table.column_names) & set(settings.results):
        for place, value in enumerate(table[name].to_pylist()):
            if value is not None:
                problems.setdefault(place, _taken(name))
        table = table.drop_columns([name])
    return replace(block, table=table, problems=problems)


def _taken(name: str) -> str:
    return (
        f"has a column {name!r}, a name that the batch adds itself.  Give a prefix for the "
        "batch's own names."
    )
