from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from megatick_training.errors import DataError
from megatick_training.headlines import Headlines, read_headlines


def written(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "news.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_texts_are_read_in_the_order_of_publication(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "ticker,published_at,text,score",
        "B,2020-01-02T02:00:00+02:00, later ,",
        "A,2020-01-01T23:00:00Z,earlier,-0.5",
        ",2020-01-01T22:00:00Z,about nobody,0.5",
    )

    rows = read_headlines(path).rows

    assert rows["symbol"].tolist() == ["A", "B"]
    assert rows["published_at"].tolist() == [
        pd.Timestamp("2020-01-01T23:00Z"),
        pd.Timestamp("2020-01-02T00:00Z"),
    ]
    assert rows["text"].tolist() == ["earlier", "later"]
    np.testing.assert_array_equal(rows["score"], [-0.5, np.nan])


def test_a_text_about_two_symbols_is_scored_once_and_is_news_of_both(
    tmp_path: Path,
) -> None:
    path = tmp_path / "news.jsonl"
    path.write_text(
        '{"symbol": ["A", "B"], "published_at": "2020-01-01T00:00:00Z", "text": "both"}\n'
        '{"symbol": ["A", "A "], "published_at": "2020-01-01T00:00:01Z", "text": "bad"}\n'
    )

    headlines = read_headlines(path)
    scored = headlines.scored({"both": 0.25})

    assert headlines.rows["symbol"].tolist() == ["A", "B", "A"]  # each once
    assert headlines.unscored == ("both", "bad")
    assert scored.rows[["symbol", "score"]].to_numpy().tolist() == [
        ["A", 0.25],
        ["B", 0.25],
    ]
    assert scored.unscored == ()


@pytest.mark.parametrize("before", [1, 300])  # 256 rows are read at a time
def test_symbols_are_a_list_or_one_in_one_file(tmp_path: Path, before: int) -> None:
    rows = [{"symbol": "A", "score": 0.5}] * before + [{"symbol": ["A", "B"], "score": 0}]
    path = tmp_path / "news.jsonl"
    path.write_text(
        "".join(
            json.dumps({**row, "published_at": f"2020-01-01T00:{n // 60:02}:{n % 60:02}Z"})
            + "\n"
            for n, row in enumerate(rows)
        )
    )

    symbols = read_headlines(path).rows["symbol"].tolist()

    assert symbols == [*["A"] * before, "A", "B"]


def test_a_number_is_a_symbol_also_where_one_is_missing(tmp_path: Path) -> None:
    path = tmp_path / "news.parquet"
    at = "2020-01-01T00:00:00Z"
    frame = pd.DataFrame({"symbol": [7203, None], "published_at": at, "score": 0.5})
    frame.to_parquet(path)  # pandas holds such a column as float64

    assert read_headlines(path).rows["symbol"].tolist() == ["7203"]


def test_what_is_published_at_a_moment_is_not_before_it(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "symbol,published_at,text",
        "A,2020-01-01T00:00:00Z,one",
        "A,2020-01-01T00:00:01Z,two",
    )

    known = read_headlines(path).before(pd.Timestamp("2020-01-01T00:00:01Z"))

    assert known.rows["text"].tolist() == ["one"]


def test_none_is_a_table_like_any_other() -> None:
    none = Headlines.none()

    assert len(none) == 0
    assert len(none.before(pd.Timestamp("2020-01-01", tz="UTC"))) == 0
    assert none.scored({}).unscored == ()


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["symbol,published_at", "A,2020-01-01T00:00:00Z"], "lacks columns 'text' and"),
        (["symbol,published_at,text", "A,2020-01-01T00:00:00Z, "], "neither a text nor"),
        (["symbol,published_at,score", "A,2020-01-01T00:00:00Z,"], "neither a text nor"),
        (["symbol,published_at,score", "A,2020-01-01T00:00:00Z,1.5"], r"expected one in"),
        (["symbol,published_at,text", "A,2020-01-01T00:00:00,a"], "published_at"),
        (["symbol,published_at,text", ",2020-01-01T00:00:00Z,a"], "names no symbol"),
        (["published_at,text", "2020-01-01T00:00:00Z,a"], "lacks column 'symbol'"),
    ],
)
def test_a_bad_table_is_named(tmp_path: Path, lines: list[str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        read_headlines(written(tmp_path, *lines))
