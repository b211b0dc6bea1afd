"""Rows to blocks: from the start, and from any row on, as a resume reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megatick_contract.tables import Source, read_blocks

ROWS = 700
BROKEN = (0, 300, 301, 699)
Read = list[tuple[int, int, str | None, str | None]]


def sources_in(folder: Path) -> list[Source]:
    """A CSV and JSON lines of ROWS rows, some of them broken, and a Parquet file."""
    lines = [f"{n},two" if n in BROKEN else f"csv {n}" for n in range(ROWS)]
    (folder / "a.csv").write_text("text\n" + "\n".join(lines) + "\n")
    written = [
        "[" if n in BROKEN else json.dumps({"text": f"json {n}"}) for n in range(ROWS)
    ]
    (folder / "b.jsonl").write_text("\n".join(written))
    table = pa.table({"text": [f"parquet {n}" for n in range(ROWS)]})
    pq.write_table(table, folder / "c.parquet", row_group_size=200)
    return [Source.of(folder / name) for name in ("a.csv", "b.jsonl", "c.parquet")]


def read(sources: list[Source], after: int = 0) -> Read:
    """Number, line, text and problem of each row."""
    rows: Read = []
    for block in read_blocks(sources, after=after):
        texts: list[Any] = block.table["text"].to_pylist()
        assert len(texts) == block.rows
        rows += [
            (
                block.first + place,
                block.lines[place],
                texts[place],
                block.problems.get(place),
            )
            for place in range(block.rows)
        ]
    return rows


def test_every_row_with_its_number_and_line(tmp_path: Path) -> None:
    rows = read(sources_in(tmp_path))

    assert [number for number, *_ in rows] == list(range(3 * ROWS))
    lines = [line for _, line, *_ in rows]
    assert lines == [
        *range(2, ROWS + 2),  # below the line of names
        *range(1, ROWS + 1),
        *range(1, ROWS + 1),  # of Parquet, rows
    ]
    broken = [number for number, _, _, problem in rows if problem]
    assert broken == [*BROKEN, *(ROWS + n for n in BROKEN)]
    texts = [text for _, _, text, problem in rows if not problem]
    kept = [n for n in range(ROWS) if n not in BROKEN]
    assert texts == [
        *(f"csv {n}" for n in kept),
        *(f"json {n}" for n in kept),
        *(f"parquet {n}" for n in range(ROWS)),
    ]


@pytest.mark.parametrize(
    "after", [1, 256, 300, 301, 699, 700, 1000, 1399, 1400, 1600, 1777, 2099, 2100]
)
def test_from_any_row_on(tmp_path: Path, after: int) -> None:
    sources = sources_in(tmp_path)

    assert read(sources, after) == read(sources)[after:]
