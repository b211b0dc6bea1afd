"""Batches that meet no trouble but in their rows: every kind of input, both of output."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_world import Row, Troubled, errors_of, rows_of, score_of, text_of

from megatick_client import Client
from megatick_client.batches import (
    BatchProgress,
    JobError,
    SettingError,
    SourceError,
    parts,
)

# An odd number of requests, and of blocks; the last of each is not full.
MANY = 1000


def written(path: Path, rows: list[Row]) -> Path:
    """Write rows as the file's name says."""
    kind = path.name.split(".")[1]
    if kind == "parquet":
        pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=300)
        return path
    if kind == "csv":
        lines = [",".join(rows[0]), *(",".join(map(str, row.values())) for row in rows)]
    else:
        lines = [json.dumps(row) for row in rows]
    raw = ("\n".join(lines) + "\n").encode()
    if path.suffix == ".gz":
        raw = gzip.compress(raw)
    if path.suffix == ".zst":
        raw = bytes(pa.compress(raw, "zstd", asbytes=True))
    path.write_bytes(raw)
    return path


def numbered(numbers: range) -> list[Row]:
    return [{"id": number, "text": text_of(number)} for number in numbers]


def check_scored(rows: list[Row], numbers: range, *, ids: type = int) -> None:
    """Every row once, in its order, with its own score."""
    assert [row["id"] for row in rows] == [ids(number) for number in numbers]
    for row, number in zip(rows, numbers, strict=True):
        assert row["text"] == text_of(number)
        assert row["score"] == pytest.approx(score_of(row["text"]), abs=1e-6)
        assert row["label"] == ("positive" if number % 7 else "negative")
        assert row["tokens"] == len(row["text"].split())


@pytest.mark.parametrize(
    ("name", "ids"),
    [
        pytest.param("news.csv", str, id="csv-whose-columns-stay-text"),
        pytest.param("news.csv.gz", str, id="csv.gz"),
        pytest.param("news.csv.zst", str, id="csv.zst"),
        pytest.param("news.jsonl", int, id="jsonl"),
        pytest.param("news.jsonl.gz", int, id="jsonl.gz"),
        pytest.param("news.parquet", int, id="parquet"),
    ],
)
@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
def test_a_file(client: Client, tmp_path: Path, name: str, ids: type, ending: str) -> None:
    source = written(tmp_path / name, numbered(range(MANY)))
    output = tmp_path / f"scores{ending}"

    status = client.batches.submit(source, output=output)

    assert status.state == "finished"
    assert (status.rows, status.scored, status.refused) == (MANY, MANY, 0)
    check_scored(rows_of(output), range(MANY), ids=ids)
    assert errors_of(output) == []


def test_files_of_a_folder_or_a_glob_in_the_order_of_their_names(
    client: Client, tmp_path: Path
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    written(folder / "b.jsonl", numbered(range(10, 20)))
    written(folder / "a.parquet", numbered(range(10)))
    written(folder / "c.jsonl.gz", numbered(range(20, 30)))
    (folder / "notes.md").write_text("not a table")

    client.batches.submit(folder, output=tmp_path / "all.parquet")
    client.batches.submit(str(folder / "*.jsonl*"), output=tmp_path / "some.parquet")

    check_scored(rows_of(tmp_path / "all.parquet"), range(30))
    check_scored(rows_of(tmp_path / "some.parquet"), range(10, 30))


@dataclass
class SpeaksArrow:
    """A frame as polars' is one, as far as a batch can tell."""

    table: pa.Table

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        return self.table.__arrow_c_stream__(requested_schema)


def test_frames(client: Client, tmp_path: Path) -> None:
    frame = pd.DataFrame(numbered(range(40)))
    dated = frame.set_index(pd.Index([f"day {n}" for n in range(40)], name="day"))

    client.batches.submit(frame, output=tmp_path / "frame.parquet")
    client.batches.submit(dated, output=tmp_path / "dated.parquet")
    arrow = pa.Table.from_pylist(numbered(range(40)))
    client.batches.submit(arrow, output=tmp_path / "arrow.parquet")
    client.batches.submit(SpeaksArrow(arrow), output=tmp_path / "other.parquet")

    for name in ("frame", "dated", "arrow", "other"):
        check_scored(rows_of(tmp_path / f"{name}.parquet"), range(40))
    assert rows_of(tmp_path / "dated.parquet")[3]["day"] == "day 3"


def test_columns_are_kept_and_the_result_says_what_made_it(
    client: Client, endpoint: Troubled, tmp_path: Path
) -> None:
    rows = [{"label": "mine", "headline": "up +", "day": None}]
    source = written(tmp_path / "news.parquet", rows)
    output = tmp_path / "scores.parquet"
    with pytest.raises(
        SourceError, match="column 'text', found 'label', 'headline', 'day'"
    ):
        client.batches.submit(source, output=output)
    with pytest.raises(SourceError, match="a column 'label', a name that the batch adds"):
        client.batches.submit(source, output=output, column="headline")

    client.batches.submit(source, output=output, column="headline", prefix="news_")

    table = pq.read_table(output)
    assert table.column_names == [
        *("label", "headline", "day"),
        *("news_label", "news_score", "news_negative", "news_neutral", "news_positive"),
        *("news_tokens", "news_truncated"),
    ]
    # "up +" is (1, 1, 2) / 4
    assert table.to_pylist()[0]["label"] == "mine"
    assert table.to_pylist()[0]["news_positive"] == 0.5
    about = json.loads(table.schema.metadata[b"megatick"])
    assert about["model_digest"] == endpoint.digest
    assert about["settings"]["column"] == "headline"
    assert about["sources"][0]["path"] == str(source)


def test_every_request_is_backfill_unless_asked_otherwise(
    client: Client, endpoint: Troubled, tmp_path: Path
) -> None:
    source = written(tmp_path / "news.csv", numbered(range(100)))

    client.batches.submit(source, output=tmp_path / "a.parquet")
    client.batches.submit(source, output=tmp_path / "b.parquet", priority="live")

    lanes = [request.parameters["lane"].string_param for request in endpoint.requests]
    assert lanes == ["backfill"] * 4 + [""] * 4  # of 32, 32, 32 and 4 rows


def test_bad_rows_are_listed_and_the_others_scored(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "news.csv"
    source.write_bytes(
        b'id,text\n0,good +\n1,too,many\n2,"on two\nlines"\n3, \n4,caf\xe9\n\n5\n6,last\n'
    )
    output = tmp_path / "scores.jsonl"

    status = client.batches.submit(source, output=output)

    assert [row["id"] for row in rows_of(output)] == ["0", "2", "6"]
    assert rows_of(output)[1]["text"] == "on two\nlines"
    assert (status.rows, status.scored, status.refused) == (7, 3, 4)
    errors = errors_of(output)
    assert [(error["row"], error["line"]) for error in errors] == [
        (1, 3),
        (3, 6),
        (4, 7),
        (5, 9),
    ]
    assert errors[0]["problem"] == "expected 2 fields, found 3: '1,too,many'"
    assert errors[1]["problem"] == "is blank"
    assert errors[1]["values"] == {"id": "3", "text": " "}
    assert "expected UTF-8" in errors[2]["problem"]
    assert errors[3]["problem"] == "expected 2 fields, found 1: '5'"


def test_broken_lines_far_into_a_csv(client: Client, tmp_path: Path) -> None:
    """More rows than a part holds; the header is line 1, so row n is at line n + 2."""
    many = 2 * parts.PART_ROWS + 1000
    lines = [f"{n},{text_of(n)}" for n in range(many)]
    broken = {
        5000: ("5000,a,b", "expected 2 fields, found 3"),
        5001: ("5001", "expected 2 fields, found 1"),
        12_345: ("12345,caf\udce9", "expected UTF-8"),
        many - 1: (f'{many - 1},"a {"x" * 200_000}', "an open quote?"),
    }
    for number, (line, _) in broken.items():
        lines[number] = line
    source = tmp_path / "news.csv"
    raw = "id,text\n" + "\n".join(lines) + "\n"
    source.write_bytes(raw.encode(errors="surrogateescape"))
    output = tmp_path / "scores.parquet"

    status = client.batches.submit(source, output=output)

    good = [n for n in range(many) if n not in broken]
    rows = rows_of(output)
    assert [row["id"] for row in rows] == [str(n) for n in good]
    assert [row["score"] for row in rows] == pytest.approx(
        [score_of(text_of(n)) for n in good], abs=1e-6
    )
    assert (status.rows, status.scored, status.refused) == (many, len(good), len(broken))
    errors = errors_of(output)
    assert [(each["row"], each["line"]) for each in errors] == [(n, n + 2) for n in broken]
    for each, (_, problem) in zip(errors, broken.values(), strict=True):
        assert problem in each["problem"]


def test_refusals_that_do_not_name_every_bad_row(
    client: Client, endpoint: Troubled, tmp_path: Path
) -> None:
    """Then the rest, sent again, is refused again, with other numbers for its rows."""
    endpoint.listed = 1
    rows = numbered(range(10))
    for bad in (2, 5, 6):
        rows[bad]["text"] = " "
    source = written(tmp_path / "news.jsonl", rows)
    output = tmp_path / "scores.jsonl"

    client.batches.submit(source, output=output)

    assert [error["row"] for error in errors_of(output)] == [2, 5, 6]
    assert [row["id"] for row in rows_of(output)] == [0, 1, 3, 4, 7, 8, 9]
    assert len(endpoint.requests) == 4


def test_an_open_quote_costs_the_lines_that_it_swallows(
    client: Client, tmp_path: Path
) -> None:
    source = tmp_path / "news.csv"
    swallowed = 3000  # of 50 characters: more than a field may have
    source.write_text(
        'id,text\n0,good\n1,"never closed\n' + f"2,{'x' * 47}\n" * swallowed + "3,after\n"
    )
    output = tmp_path / "scores.jsonl"

    client.batches.submit(source, output=output)

    errors, rows = errors_of(output), rows_of(output)
    assert errors[0]["line"] == 3
    assert "an open quote?" in errors[0]["problem"]
    assert rows[0]["id"] == "0"
    assert rows[-1] == {**rows[-1], "id": "3", "text": "after"}
    assert len(rows) > 2  # the reader went on where the field became too long


def test_lines_in_a_quote_that_nothing_closes_are_no_text(
    client: Client, tmp_path: Path
) -> None:
    """Of no more than a field may have, or the file was cut off in a text of two lines."""
    source = tmp_path / "news.csv"
    source.write_text('id,text\n0,good\n1,"never closed\n2,lost\n3,lost')
    output = tmp_path / "scores.jsonl"

    client.batches.submit(source, output=output)

    assert [row["text"] for row in rows_of(output)] == ["good"]
    (error,) = errors_of(output)
    assert (error["row"], error["line"]) == (1, 3)
    assert error["problem"].startswith("lines 3 to 5 are no CSV (the file ends in a quote)")


@pytest.mark.parametrize("lines", [2, 200_000], ids=["to-the-end", "beyond-a-field"])
def test_names_in_a_quote_that_nothing_closes(
    client: Client, tmp_path: Path, lines: int
) -> None:
    source = tmp_path / "news.csv"
    source.write_text('"text\n' + "a\n" * lines)

    with pytest.raises(
        SourceError, match=r"news\.csv: expected a line with the columns' names"
    ):
        client.batches.submit(source, output=tmp_path / "scores.jsonl")


def test_json_lines_of_all_sorts(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "news.jsonl"
    source.write_text(
        '{"text": "a +", "id": 1}\n'
        '{"text": "b", "id": "two", "extra": {"k": [1]}}\n'
        '["no", "object"]\n'
        '{"text": "cut off\n'
        '{"text": null}\n'
        '{"text": "\\ud800"}\n'
        '{"text": "c", "score": 1}\n'
        '{"id": 9}\n'
    )
    output = tmp_path / "scores.parquet"

    client.batches.submit(source, output=output)

    assert [(row["text"], row["id"]) for row in rows_of(output)] == [
        ("a +", "1"),
        ("b", "two"),
    ]
    assert rows_of(output)[1]["extra"] == {"k": [1]}
    problems = {error["line"]: error["problem"] for error in errors_of(output)}
    assert problems.keys() == {3, 4, 5, 6, 7, 8}
    assert problems[3] == "expected a JSON object, found list"
    assert problems[4].startswith("is no JSON")
    assert problems[5] == problems[8] == "expected a str, found None (NoneType)"
    assert "half of a surrogate pair" in problems[6]
    assert "a name that the batch adds itself" in problems[7]


def test_an_input_without_a_row(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "news.csv"
    source.write_text("text\n")

    status = client.batches.submit(source, output=tmp_path / "scores.parquet")

    assert status.rows == 0
    assert rows_of(tmp_path / "scores.parquet") == []


def test_progress_ends_at_the_input_s_end(client: Client, tmp_path: Path) -> None:
    source = written(tmp_path / "news.csv", [*numbered(range(MANY)), {"id": 0, "text": ""}])
    told: list[BatchProgress] = []

    client.batches.submit(source, output=tmp_path / "scores.parquet", report=told.append)

    size = source.stat().st_size
    assert told[-1] == BatchProgress(MANY + 1, MANY, size, size)
    assert [each.rows for each in told] == [256, 512, 768, 1001]


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("a.txt", b"text\n", "a name that ends in .csv", id="another-ending"),
        pytest.param("a.csv", b"", "columns' names, found none", id="empty"),
        pytest.param("a.csv", b"text,text\n", "two columns of the name 'text'", id="twice"),
        pytest.param("a.csv.gz", b"text\nnot gzip\n", "cannot be read", id="not-gzip"),
        pytest.param("a.parquet", b"text", "cannot be read", id="not-parquet"),
        pytest.param("a.csv", b"\xff,text\n", "expected UTF-8", id="no-utf-8"),
    ],
)
def test_inputs_that_cannot_be_read(
    client: Client, tmp_path: Path, name: str, content: bytes, problem: str
) -> None:
    source = tmp_path / name
    source.write_bytes(content)

    with pytest.raises(SourceError, match=problem) as caught:
        client.batches.submit(source, output=tmp_path / "scores.parquet")

    assert str(source) in str(caught.value)
    assert not list(tmp_path.glob("*.job"))


@pytest.mark.parametrize(
    ("frame", "problem"),
    [
        pytest.param(
            pd.DataFrame([["+", "-"]], columns=["text", "text"]), "Duplicate", id="twice"
        ),
        pytest.param(
            pa.table([["+"], ["a"], ["b"]], ["text", "by", "by"]),
            "two columns of the name 'by'",
            id="twice-in-arrow",
        ),
        pytest.param(
            pd.DataFrame({"text": ["+"]}, index=pd.Index(["+"], name="text")),
            "text, already exists",
            id="an-index-of-its-name",
        ),
        pytest.param(pd.DataFrame({"text": ["+", 3]}), "cannot hold", id="mixed"),
        pytest.param(pd.Series(["+"], name="text"), "cannot hold", id="series"),
        pytest.param(["+"], "frame of pandas, polars or Arrow, found list", id="list"),
    ],
)
def test_frames_that_no_file_holds(
    client: Client, tmp_path: Path, frame: Any, problem: str
) -> None:
    with pytest.raises(SourceError, match=problem):
        client.batches.submit(frame, output=tmp_path / "scores.parquet")

    assert not list(tmp_path.glob("*.job"))


@pytest.mark.parametrize(
    "setting",
    [
        ("truncation", "middle"),
        ("in_flight", 0),
        ("timeout_s", "5"),
        ("timeout_s", 2e9),  # longer than a client's call may take
        ("timeout_s", float("nan")),
        ("patience_s", None),
    ],
)
def test_settings_out_of_range(
    client: Client, tmp_path: Path, setting: tuple[str, Any]
) -> None:
    source = written(tmp_path / "news.csv", numbered(range(3)))

    with pytest.raises(SettingError, match=f"{setting[0]}: expected"):
        client.batches.submit(source, output=tmp_path / "scores.parquet", **dict([setting]))

    assert not list(tmp_path.glob("*.job"))


def test_what_is_there_is_never_written_over(client: Client, tmp_path: Path) -> None:
    source = written(tmp_path / "news.csv", numbered(range(3)))
    output = tmp_path / "scores.parquet"
    client.batches.submit(source, output=output)

    with pytest.raises(JobError, match="a batch that is finished"):
        client.batches.submit(source, output=output)
    (tmp_path / "mine.jsonl").write_text("mine")
    with pytest.raises(JobError, match=r"mine.jsonl is there already"):
        client.batches.submit(source, output=tmp_path / "mine.jsonl")
    with pytest.raises(SettingError, match=r"expected a name that ends in .parquet or"):
        client.batches.submit(source, output=tmp_path / "scores.csv")


def test_nothing_to_resume_or_look_at(client: Client, tmp_path: Path) -> None:
    output = tmp_path / "scores.parquet"
    for ask in (client.batches.resume, client.batches.status, client.batches.cancel):
        with pytest.raises(JobError, match="expected the folder of a batch, found none"):
            ask(output)
    (tmp_path / "scores.parquet.job").mkdir()
    (tmp_path / "scores.parquet.job" / "job.json").write_text('{"layout": 99}')
    with pytest.raises(JobError, match="no job of this release"):
        client.batches.status(output)


def test_long_texts_do_not_fill_the_memory(
    client: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A part is written before it holds its rows when these are long."""
    source = written(tmp_path / "news.csv", numbered(range(MANY)))
    monkeypatch.setattr(parts, "PART_BYTES", 5000)  # less than 256 rows have
    sizes: list[int] = []
    flush = parts.PartWriter.flush

    def counted(writer: parts.PartWriter) -> None:
        flush(writer)
        sizes.append(len(list(writer.folder.glob("*.parquet"))))

    monkeypatch.setattr(parts.PartWriter, "flush", counted)

    client.batches.submit(source, output=tmp_path / "scores.parquet")

    assert sizes[:3] == [1, 2, 3]
    check_scored(rows_of(tmp_path / "scores.parquet"), range(MANY), ids=str)
