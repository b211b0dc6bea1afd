"""Files, from the raw rows to the clean ones and back by their numbers."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from megatick_training.cleaning import CleaningOptions, CleaningReport, clean_file
from megatick_training.errors import DataError

ROWS = [
    ("$acme: profit &amp; sales rise to 5% https://t.co/a", "positive"),
    ("", "neutral"),
    ("https://t.co/b", "neutral"),
    ("$ACME: profit & sales rise to 5%", "positive"),
    ("$ACME - profit & sales rise to 5%!", "negative"),
    ("$WILE: profit & sales rise to 5%", "positive"),
    ("$ACME: profit & sales rise to 7%", "positive"),
    ("公司公告，净利增１４％", "positive"),
    ("公司公告，净利增14%", "positive"),
]


def source(folder: Path) -> Path:
    path = folder / "raw.jsonl"
    lines = [json.dumps({"text": text, "label": label}) for text, label in ROWS]
    path.write_text("\n".join([*lines, "{"]) + "\n")
    return path


def counts(report: CleaningReport) -> dict[str, int]:
    return {each.step: each.rows for each in report.steps} | {
        each.reason: each.rows for each in report.dropped
    }


def rows_of(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
def test_every_row_is_written_or_listed(tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"clean.{ending}"

    report = clean_file(source(tmp_path), out)

    assert rows_of(out) == [
        {"text": "$ACME: profit & sales rise to 5%", "label": "positive", "source_row": 0},
        {"text": "$WILE: profit & sales rise to 5%", "label": "positive", "source_row": 5},
        {"text": "$ACME: profit & sales rise to 7%", "label": "positive", "source_row": 6},
        {"text": "公司公告，净利增14%", "label": "positive", "source_row": 7},
    ]
    dropped = rows_of(tmp_path / f"clean.{ending}.dropped.jsonl")
    assert [(each["source_row"], each["reason"], each["repeats"]) for each in dropped] == [
        (1, "empty", None),
        (2, "nothing left", None),
        (3, "duplicate", 0),
        (4, "near-duplicate", 0),
        (8, "duplicate", 7),
        (9, "unreadable", None),
    ]
    assert dropped[3]["text"] == ROWS[4][0]
    assert (report.rows, report.kept, report.other_labels) == (10, 4, 1)


def test_steps_are_counted(tmp_path: Path) -> None:
    found = counts(clean_file(source(tmp_path), tmp_path / "clean.jsonl"))

    assert found["markup"] == 1
    assert found["links"] == 2
    assert found["cashtags"] == 1
    assert found["full-width letters and digits"] == 1
    assert found["encoding"] == found["boilerplate"] == found["too long"] == 0


def test_near_duplicates_can_stay(tmp_path: Path) -> None:
    options = CleaningOptions(near_duplicates=False, original=True, cashtags="bare")
    out = tmp_path / "clean.parquet"

    report = clean_file(source(tmp_path), out, options=options)

    assert report.kept == 7
    first = rows_of(out)[0]
    assert first["text"] == "ACME: profit & sales rise to 5%"
    assert first["original"] == ROWS[0][0]


def test_bare_symbols_keep_news_apart(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    texts = [
        f"{symbol} target cut to $120 by all analysts of the street on Monday morning"
        for symbol in ("$ACME", "$WILE")
    ]
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    report = clean_file(
        path, tmp_path / "clean.jsonl", options=CleaningOptions(cashtags="bare")
    )

    assert report.kept == 2


def test_a_row_too_long_for_the_wire_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "raw.parquet"
    texts = ["涨" * 21_845, "涨" * 21_845 + "aa"]  # 65,535 and 65,537 bytes of UTF-8
    pq.write_table(pa.table({"text": texts}), path)

    report = clean_file(path, tmp_path / "clean.jsonl")

    assert counts(report)["too long"] == 1
    assert rows_of(tmp_path / "clean.jsonl")[0]["source_row"] == 0


def test_what_a_source_repeats_goes(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    tail = "Find all of our briefings in one place."
    rows = [
        {"source": name, "text": f"{word} is up for reasons of its own. {tail}"}
        for name in ("wire", "desk")
        for word in ("abcdefghijkl" if name == "wire" else "mno")
    ]
    path.write_text("\n".join(map(json.dumps, rows)))
    options = CleaningOptions(near_duplicates=False)

    report = clean_file(path, tmp_path / "clean.jsonl", options=options)

    assert [tail in row["text"] for row in rows_of(tmp_path / "clean.jsonl")] == [
        *[False] * 12,
        *[True] * 3,
    ]
    assert [(each.passage, each.rows) for each in report.passages] == [(tail, 12)]


def test_broken_lines_are_counted_however_many(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_text("{\n" * 600 + '{"text": 5}\n')

    report = clean_file(path, tmp_path / "clean.jsonl")

    assert (report.rows, counts(report)["unreadable"]) == (601, 600)
    assert rows_of(tmp_path / "clean.jsonl") == [{"text": "5", "source_row": 600}]


def test_an_unfinished_output_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "raw.csv"
    path.write_text("text,source_row\nup,1\n")

    with pytest.raises(DataError, match="column 'source_row', which is added"):
        clean_file(path, tmp_path / "clean.parquet")

    assert [each.name for each in tmp_path.iterdir()] == ["raw.csv"]


def test_a_list_of_rows_is_no_lines_of_them(tmp_path: Path) -> None:
    path = tmp_path / "raw.jsonl"
    path.write_text('[{"text": "up"}]')

    with pytest.raises(DataError, match="no row that can be read: line 1: expected a JSON"):
        clean_file(path, tmp_path / "clean.jsonl")


@pytest.mark.parametrize(
    ("table", "out", "problem"),
    [
        pytest.param("headline\nup\n", "clean.jsonl", "lacks column 'text'", id="column"),
        pytest.param("text\n", "clean.jsonl", "holds no row", id="empty"),
        pytest.param("text\nup\n", "clean.csv", r"\.parquet or \.jsonl", id="ending"),
    ],
)
def test_what_cannot_be_cleaned(tmp_path: Path, table: str, out: str, problem: str) -> None:
    path = tmp_path / "raw.csv"
    path.write_text(table)

    with pytest.raises(DataError, match=problem):
        clean_file(path, tmp_path / out)


@pytest.mark.parametrize("out", ["raw.jsonl", "link.jsonl"])
def test_the_input_is_not_written_over(tmp_path: Path, out: str) -> None:
    raw = source(tmp_path)
    (tmp_path / "link.jsonl").symlink_to(raw)
    before = raw.read_bytes()

    with pytest.raises(DataError, match="is the input, or of it"):
        clean_file(raw, tmp_path / out)

    assert raw.read_bytes() == before


def test_nor_is_a_file_of_its_folder(tmp_path: Path) -> None:
    raw = source(tmp_path)
    other = tmp_path / "other.jsonl"
    other.write_bytes(raw.read_bytes())
    list_of_dropped = tmp_path / "clean.jsonl.dropped.jsonl"

    with pytest.raises(DataError, match=r"other\.jsonl: is the input, or of it"):
        clean_file(tmp_path, other)
    list_of_dropped.write_bytes(raw.read_bytes())
    with pytest.raises(DataError, match=r"dropped\.jsonl: is the input, or of it"):
        clean_file(tmp_path, tmp_path / "clean.jsonl")


def test_whatever_a_column_holds_any_parser_reads_the_lines(tmp_path: Path) -> None:
    path, out = tmp_path / "raw.parquet", tmp_path / "clean.jsonl"
    columns = {"text": ["up"], "id": [b"a1"], "tags": [[b"x"]], "score": [math.nan]}
    pq.write_table(pa.table(columns), path)

    clean_file(path, out)

    (line,) = out.read_text().splitlines()
    expected = {"text": "up", "id": "a1", "tags": ["x"], "score": None, "source_row": 0}
    assert json.loads(line, parse_constant=pytest.fail) == expected


def test_a_list_beside_texts_is_no_text_and_stays_a_list(tmp_path: Path) -> None:
    path, out = tmp_path / "raw.jsonl", tmp_path / "clean.jsonl"
    rows = [
        {"text": "A rises", "symbol": "A", "id": 1},
        {"text": ["B", "falls"], "symbol": "B", "id": 2},
        {"text": "A meets B", "symbol": ["A", "B"], "id": "3"},
        {"text": 5, "symbol": None, "id": 4},
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    report = clean_file(path, out)

    assert [(row["text"], row["symbol"], row["id"]) for row in rows_of(out)] == [
        ("A rises", "A", "1"),
        ("A meets B", ["A", "B"], "3"),
        ("5", None, "4"),
    ]
    (dropped,) = rows_of(tmp_path / "clean.jsonl.dropped.jsonl")
    assert (dropped["line"], dropped["reason"]) == (2, "unreadable")
    assert dropped["text"] == "expected text, found ['B', 'falls']"
    assert (report.rows, report.kept) == (4, 3)


def test_a_folder_that_is_not_there_is_named_first(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none is not there: make it first"):
        clean_file(source(tmp_path), tmp_path / "none" / "clean.jsonl")


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (pa.array([b"up"]), "binary"),
        (pa.array([b"up"], pa.large_binary()), "large_binary"),
        (pa.array([["up"]]), "list"),
        (pa.array([b"up"]).dictionary_encode(), "dictionary"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, values: pa.Array, kind: str) -> None:
    path = tmp_path / "raw.parquet"
    pq.write_table(pa.table({"text": values}), path)

    with pytest.raises(DataError, match=f"has {kind}.* in column 'text', expected text"):
        clean_file(path, tmp_path / "clean.parquet")
