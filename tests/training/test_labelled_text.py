from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from megatick_contract.near_duplicates import near_duplicate_key
from megatick_training.errors import DataError
from megatick_training.labelled_text import read_labelled_texts, read_synonyms
from megatick_training.texts import hold_back, read_texts


def write(folder: Path, text: str) -> Path:
    path = folder / "texts.csv"
    path.write_text(text)
    return path


def firm(number: int) -> str:
    """A name of a firm, unlike those of other numbers."""
    return "".join(chr(97 + (number * step + 7 * step) % 26) for step in range(3, 40, 3))


def test_near_duplicates_never_part(tmp_path: Path) -> None:
    lines = [
        f"$SYM{i % 7}: {firm(i % 20)} is cut to ${i}{'!' * (i % 3)},positive\n"
        for i in range(200)
    ]
    texts = read_labelled_texts(write(tmp_path, "text,label\n" + "".join(lines)))

    held = hold_back(texts, test=0.3, seed=1)

    train, held_back = held.train, held.test
    assert len(train) + len(held_back) == 200
    keys = [
        {near_duplicate_key(text) for text in part.texts} for part in (train, held_back)
    ]
    assert [len(each) for each in keys] == [14, 6]
    assert not keys[0] & keys[1]


def test_what_differs_in_a_word_does_not_part_either(tmp_path: Path) -> None:
    lines = [
        f"{firm(i % 20)} and {firm(30 + i % 20)} report a {how} quarter,neutral\n"
        for i in range(20)
        for how in ("weak", "firm", "slow")
    ]
    texts = read_labelled_texts(write(tmp_path, "text,label\n" + "".join(lines)))

    held = hold_back(texts, dev=0.5, seed=0)

    for part in (held.train, held.dev):
        assert len(part) == 30
        assert len({text.split()[0] for text in part.texts}) == 10


def test_rows_of_one_split_can_be_chosen(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label,split\nup,positive,dev\ndown,negative,train\n")

    texts = read_labelled_texts(path, split="dev")

    assert texts.texts == ("up",)
    assert texts.classes.tolist() == [2]


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        pytest.param("text,sentiment\nx,positive\n", "lacks column 'label'", id="column"),
        pytest.param("text,label\nx,bullish\n", "labels ['bullish']", id="label"),
        pytest.param("text,label\nx,\n", "labels [''] (first in line 2)", id="no-label"),
        pytest.param(
            "text,label\n" + "".join(f"x,{n:02}{'y' * 99}\n" for n in range(2000)),
            f"'07{'y' * 37}] and 1,992 more (first in line 2)",
            id="columns-swapped",
        ),
        pytest.param(
            "text, text,label\nx,y,neutral\n",
            "two columns 'text' that spaces alone tell apart",
            id="twins",
        ),
        pytest.param("text,label\n", "holds no row", id="empty"),
        pytest.param("text,label\nx,neutral\n ,neutral\n", "line 3: the text", id="text"),
        pytest.param("text,label\nx\n", "line 2: expected 2 fields", id="fields"),
        pytest.param(
            "text,label,published_at\nx,neutral,2026-01-02\n",
            "line 2, 'published_at': expected a zone",
            id="naive",
        ),
        pytest.param(
            "text,label,published_at\nx,neutral,\n",
            "line 2, 'published_at': expected a time",
            id="no-time",
        ),
    ],
)
def test_a_table_that_is_not_labelled_text_is_refused(
    tmp_path: Path, table: str, problem: str
) -> None:
    path = write(tmp_path, table)

    with pytest.raises(DataError) as caught:
        read_labelled_texts(path)

    assert str(path) in str(caught.value)
    assert problem in str(caught.value)


def test_a_split_that_the_table_lacks_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, "text,label\nx,neutral\n")

    with pytest.raises(DataError, match="lacks column 'split'"):
        read_labelled_texts(path, split="dev")


ROWS: list[dict[str, Any]] = [
    {"text": "up", "label": "bullish", "published_at": "2026-01-02T03:04:05Z"},
    {"text": "涨", "label": "bearish", "published_at": "2026-01-02T12:00+08:00"},
]


def as_csv(path: Path) -> Path:
    path = path.with_suffix(".csv.gz")
    pd.DataFrame(ROWS).to_csv(path, index=False)
    return path


def as_json_lines(path: Path) -> Path:
    path = path.with_suffix(".jsonl.gz")
    path.write_bytes(gzip.compress("\n".join(map(json.dumps, ROWS)).encode()))
    return path


def as_parquet(path: Path) -> Path:
    path = path.with_suffix(".parquet")
    times = pd.to_datetime(
        [row["published_at"] for row in ROWS], utc=True, format="ISO8601"
    )
    pd.DataFrame(ROWS).assign(published_at=times).to_parquet(path)
    return path


@pytest.mark.parametrize("write_rows", [as_csv, as_json_lines, as_parquet])
def test_formats_hold_the_same(tmp_path: Path, write_rows: Callable[[Path], Path]) -> None:
    path = write_rows(tmp_path / "texts")
    synonyms = read_synonyms('{"bullish": "positive", "bearish": "negative"}')

    texts = read_labelled_texts(path, synonyms=synonyms)

    assert texts.texts == ("up", "涨")
    assert texts.classes.tolist() == [2, 0]
    assert texts.symbols is None
    assert texts.published_at is not None
    assert [each.isoformat() for each in texts.published_at] == [
        "2026-01-02T03:04:05+00:00",
        "2026-01-02T04:00:00+00:00",
    ]


def test_what_rows_carry_goes_with_them(tmp_path: Path) -> None:
    path = tmp_path / "texts.jsonl"
    path.write_text(
        '{"text": "a", "label": "neutral", "symbol": ["X", "Y"]}\n'
        '{"text": "b", "label": "neutral", "symbol": null}\n'
        '{"text": "c", "label": "positive", "symbol": ["Z"]}\n'
    )

    taken = read_labelled_texts(path).take(np.array([2, 0]))

    assert taken.texts == ("c", "a")
    assert taken.classes.tolist() == [2, 1]
    assert taken.symbols == (("Z",), ("X", "Y"))


@pytest.mark.parametrize(
    "written",
    ["{", "[1]", '{"bullish": "up"}', '{"bullish": ["positive"]}', "no/such/file.json"],
)
def test_synonyms_of_something_else_are_refused(written: str) -> None:
    with pytest.raises(DataError, match="expected"):
        read_synonyms(written)


@pytest.mark.parametrize("header", ["text,Text,label", "TEXT,text,label"])
def test_the_column_of_the_very_name_is_read(tmp_path: Path, header: str) -> None:
    values = {"text": "right", "Text": "wrong", "TEXT": "wrong", "label": "neutral"}
    row = ",".join(values[name] for name in header.split(","))

    texts = read_labelled_texts(write(tmp_path, f"{header}\n{row}\n"))

    assert texts.texts == ("right",)


def test_no_symbol_is_none(tmp_path: Path) -> None:
    path = tmp_path / "texts.parquet"
    symbols = [["A", None], [None], None, [""]]
    frame = pd.DataFrame({"text": list("wxyz"), "label": "neutral", "symbol": symbols})
    frame.to_parquet(path)

    assert read_labelled_texts(path).symbols == (("A",), (), (), ())


@pytest.mark.parametrize("text", [b"up", ["up"], {"a": 1}])
def test_what_is_no_text_is_refused(tmp_path: Path, text: object) -> None:
    path = tmp_path / "texts.parquet"
    pd.DataFrame({"text": [None, text], "label": ["neutral"] * 2}).iloc[1:].to_parquet(path)

    for read in (read_labelled_texts, read_texts):
        with pytest.raises(DataError, match="line 1, 'text': expected text, found"):
            read(path)


@pytest.mark.parametrize("text", [["up"], {"a": 1}])
def test_nor_is_it_beside_texts(tmp_path: Path, text: object) -> None:
    path = tmp_path / "texts.jsonl"
    rows = [{"text": each, "label": "neutral"} for each in ("up", 5, text)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))

    for read in (read_labelled_texts, read_texts):
        with pytest.raises(DataError, match="line 3, 'text': expected text, found"):
            read(path)
