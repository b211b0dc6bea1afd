"""The user's files to requests: which texts, beside whose prices, how many a call."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from megatick_client.load import (
    InputError,
    Texts,
    market_view_calls,
    read_price_files,
    read_text_files,
    renamed,
    sentiment_calls,
)
from megatick_client.load.expected import read_expected
from megatick_contract.prices import PRICES
from megatick_contract.text import TEXT


def written(path: Path, content: str) -> Path:
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "content"),
    [
        pytest.param("t.txt", "Profit – up\n\nNA\n", id="lines-without-blank-ones"),
        pytest.param("t.csv", "id,text\n1,Profit – up\n2,NA\n", id="csv-where-NA-is-text"),
        pytest.param("t.jsonl", '{"text": "Profit – up"}\n{"text": "NA"}\n', id="jsonl"),
    ],
)
def test_texts_of_a_file(tmp_path: Path, name: str, content: str) -> None:
    found = read_text_files(written(tmp_path / name, content))

    assert found == Texts(("Profit – up", "NA"))


def test_a_text_of_json_lines_may_be_a_number(tmp_path: Path) -> None:
    path = written(tmp_path / "t.jsonl", '{"text": "2026"}\n{"text": "7"}\n')

    assert read_text_files(path) == Texts(("2026", "7"))


def test_texts_of_a_folder_in_the_order_of_its_names(tmp_path: Path) -> None:
    with gzip.open(tmp_path / "a.csv.gz", "wt") as file:
        file.write("headline,symbol\nup,A\n")
    table = pd.DataFrame({"headline": ["down"], "symbol": ["B"]})
    table.to_parquet(tmp_path / "b.parquet")
    written(tmp_path / "readme.md", "not a table")

    found = read_text_files(tmp_path, column="headline")

    assert found == Texts(("up", "down"), ("A", "B"))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        pytest.param("t.csv", "text\nup\n\n", None, id="pandas-skips-an-empty-line"),
        pytest.param("t.csv", "text,n\nup,1\n,2\n", "row 1 .* expected a text", id="gap"),
        pytest.param("t.csv", "text,n\n7,1\n", "row 0 .* found 7", id="number"),
        pytest.param("t.csv", "title\nup\n", "column 'text', found 'title'", id="column"),
        pytest.param("t.jsonl", "{", "cannot be read as .jsonl", id="no-json"),
        pytest.param("t.parquet", "x", "cannot be read as .parquet", id="no-parquet"),
        pytest.param("t.xls", "x", "ends in .csv", id="ending"),
    ],
)
def test_texts_that_cannot_be_read(
    tmp_path: Path, name: str, content: str, message: str | None
) -> None:
    path = written(tmp_path / name, content)
    if message is None:
        assert read_text_files(path).texts == ("up",)
        return
    with pytest.raises(InputError, match=message) as caught:
        read_text_files(path)
    assert str(caught.value).startswith(str(path))


def test_nothing_there(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="found nothing"):
        read_text_files(tmp_path / "absent.csv")
    with pytest.raises(InputError, match="found none"):
        read_text_files(tmp_path)


def test_symbols_in_some_files_only(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "text,symbol\nup,A\n")
    written(tmp_path / "b.csv", "text\ndown\n")

    with pytest.raises(InputError, match="only some of its files"):
        read_text_files(tmp_path)


def test_prices_a_column_a_symbol(tmp_path: Path) -> None:
    path = written(tmp_path / "p.csv", "Date,A,B\n2020-01-01,1,2.5\n2020-01-02,,3\n")

    found = read_price_files(path)

    assert list(found) == ["A", "B"]
    np.testing.assert_array_equal(found["A"], [1, np.nan])
    np.testing.assert_array_equal(found["B"], [2.5, 3])


def test_prices_a_file_a_symbol(tmp_path: Path) -> None:
    written(tmp_path / "AAPL.csv", "Date,Open,Close\n2020-01-01,9,10\n2020-01-02,9,11\n")
    pd.DataFrame({"close": [5.0, 6.0]}).to_parquet(tmp_path / "MSFT.parquet")

    found = read_price_files(tmp_path)

    assert {name: each.tolist() for name, each in found.items()} == {
        "AAPL": [10, 11],
        "MSFT": [5, 6],
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("date,A\n1,x\n", "column 'A' holds no numbers", id="words"),
        pytest.param("date\n1\n", "dates alone", id="dates"),
    ],
)
def test_prices_that_cannot_be_read(tmp_path: Path, content: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        read_price_files(written(tmp_path / "p.csv", content))


def test_a_symbol_twice(tmp_path: Path) -> None:
    written(tmp_path / "a.csv", "A\n1\n")
    written(tmp_path / "b.csv", "A\n1\n")

    with pytest.raises(InputError, match="'A' is there twice"):
        read_price_files(tmp_path)


def test_calls_of_two_texts() -> None:
    calls = sentiment_calls(Texts(("a", "b", "c")), rows=2, truncation="tail")

    asked = [call.inputs[TEXT][:, 0].tolist() for call in calls]
    assert asked == [[b"a", b"b"], [b"c"]]
    assert calls[0].model.name == "sentiment"
    assert calls[0].parameters == {"truncation": "tail"}
    assert renamed(calls, "peer")[1].model.name == "peer"
    assert renamed(calls, "peer")[1].model.outputs == calls[1].model.outputs


@pytest.mark.parametrize(
    ("symbols", "last_closes"),
    [
        pytest.param(None, [1, 2, 1], id="in-turn"),
        pytest.param(("B", "B", "A"), [2, 2, 1], id="by-symbol"),
    ],
)
def test_a_text_beside_its_prices(
    symbols: tuple[str, ...] | None, last_closes: list[float]
) -> None:
    prices = {"A": np.array([9.0, 1.0]), "B": np.array([9.0, 2.0])}

    calls = market_view_calls(Texts(("a", "b", "c"), symbols), prices)

    assert [call.inputs[PRICES][0, -1] for call in calls] == last_closes
    assert {call.model.name for call in calls} == {"market_view"}
    assert np.isnan(calls[0].inputs[PRICES][0, :-2]).all()


def test_a_symbol_without_prices() -> None:
    with pytest.raises(InputError, match="found C"):
        market_view_calls(Texts(("a",), ("C",)), {"A": np.array([1.0])})


def test_expected_scores_by_text(tmp_path: Path) -> None:
    calls = sentiment_calls(Texts(("a", "b", "c", "a")), rows=1)
    path = written(tmp_path / "e.csv", "text,score\na,0.5\nc,-1\n")

    found = read_expected(path, calls)

    assert {number: each.tolist() for number, each in found.items()} == {
        0: [0.5],
        2: [-1],
        3: [0.5],
    }


def test_expected_scores_of_a_call_need_all_its_texts(tmp_path: Path) -> None:
    calls = sentiment_calls(Texts(("a", "b", "c", "a")), rows=2)
    path = written(tmp_path / "e.csv", "text,score\na,0.5\nc,-1\n")

    assert {n: each.tolist() for n, each in read_expected(path, calls).items()} == {
        1: [-1, 0.5]
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param("text,score\nz,0\n", "found none of them", id="other-texts"),
        pytest.param("text,score\na,1.5\n", r"row 0 .* found 1\.5", id="out-of-range"),
        pytest.param("text,score\na,high\n", "row 0 .* found 'high'", id="a-word"),
        pytest.param("text,label\na,x\n", "expected a column 'score'", id="no-column"),
    ],
)
def test_expected_scores_that_are_none(tmp_path: Path, content: str, message: str) -> None:
    path = written(tmp_path / "e.csv", content)

    with pytest.raises(InputError, match=message):
        read_expected(path, sentiment_calls(Texts(("a",))))
