"""Values of many kinds under one name: what becomes of them in Parquet and in JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from batch_world import Troubled, errors_of, rows_of

from megatick_client import Client


@pytest.mark.parametrize("ending", [".parquet", ".jsonl"])
def test_files_whose_values_have_no_common_type(
    client: Client, tmp_path: Path, ending: str
) -> None:
    """In two parts, so that the type is known only when these are put together."""
    folder = tmp_path / "in"
    folder.mkdir()
    large, rows = 2**53 + 1, 8192
    pq.write_table(
        pa.table({"text": ["up +"] * rows, "id": [large] * rows}), folder / "a.parquet"
    )
    pq.write_table(pa.table({"text": ["up +"], "id": [0.5]}), folder / "b.parquet")
    output = tmp_path / f"scores{ending}"

    status = client.batches.submit(folder, output=output)

    assert status.scored == rows + 1
    assert [row["id"] for row in rows_of(output)] == [str(large)] * rows + ["0.5"]


def test_a_file_of_objects_without_a_name(client: Client, tmp_path: Path) -> None:
    source = tmp_path / "news.jsonl"
    source.write_text('{"text": "up +", "meta": {}}\n' * 3)
    output = tmp_path / "scores.parquet"

    client.batches.submit(source, output=output)

    assert [row["meta"] for row in rows_of(output)] == ["{}"] * 3


def no_constant(name: str) -> None:
    raise AssertionError(f"{name} is no JSON")


def test_what_is_written_as_json_is_json(client: Client, tmp_path: Path) -> None:
    nan, inf = float("nan"), float("inf")
    table = pa.table(
        {"text": ["up +", " "], "one": [inf, -inf], "many": [[nan, 1.5], [nan, -inf]]}
    )
    source = tmp_path / "news.parquet"
    pq.write_table(table, source)
    output = tmp_path / "scores.jsonl"

    client.batches.submit(source, output=output)

    for path in (output, tmp_path / "scores.jsonl.errors.jsonl"):
        json.loads(path.read_text(), parse_constant=no_constant)
    assert (rows_of(output)[0]["one"], rows_of(output)[0]["many"]) == (None, [None, 1.5])
    (error,) = errors_of(output)
    assert error["values"] == {"text": " ", "one": None, "many": [None, None]}


def test_a_row_without_a_text_is_listed_with_what_it_has(
    client: Client, tmp_path: Path
) -> None:
    source = tmp_path / "news.jsonl"
    source.write_text(
        '{"id": 1, "text": "up +"}\n{"id": 2}\n{"id": 3, "text": null}\n[4]\n'
    )
    output = tmp_path / "scores.jsonl"

    client.batches.submit(source, output=output)

    assert [row["id"] for row in rows_of(output)] == [1]
    assert [error["values"] for error in errors_of(output)] == [
        {"id": 2, "text": None},
        {"id": 3, "text": None},
        None,
    ]


@pytest.mark.parametrize(
    "before", [0, 1, 300], ids=["alone", "beside-a-text", "in-a-later-block"]
)
def test_what_is_no_text_is_not_scored_as_its_json(
    client: Client, endpoint: Troubled, tmp_path: Path, before: int
) -> None:
    """Whatever stands beside it: a column of texts and other values is text."""
    rows = [{"id": number, "text": "up +"} for number in range(before)]
    rows += [{"id": 7, "text": {"en": "up +"}}, {"id": 8, "text": 8}]
    source = tmp_path / "news.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    output = tmp_path / "scores.jsonl"

    client.batches.submit(source, output=output)

    assert endpoint.seen == ({"up +": before} if before else {})
    first, second = errors_of(output)
    assert (first["values"]["id"], second["values"]["id"]) == (7, 8)
    assert "expected a str, found " in first["problem"]
    assert "expected a str, found " in second["problem"]


def test_times_that_python_has_no_year_for(client: Client, tmp_path: Path) -> None:
    """Milliseconds that were written as seconds: the number is kept."""
    table = pa.table(
        {"text": ["up +", " "], "at": pa.array([1_795_000_000_000] * 2, pa.timestamp("s"))}
    )
    source = tmp_path / "news.parquet"
    pq.write_table(table, source)
    output = tmp_path / "scores.jsonl"

    client.batches.submit(source, output=output)

    assert "1795000000000" in rows_of(output)[0]["at"]
    assert "1795000000000" in errors_of(output)[0]["values"]["at"]
