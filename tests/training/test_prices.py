from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from megatick_training.errors import DataError
from megatick_training.prices import read_closes, read_prices

LONG = """symbol,date,close,Adj Close,volume
000001,2020-01-02,10,5,700
000001,2020-01-03,11,5.5,
MSFT,2020-01-03,20,20,900
"""


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".jsonl", ".parquet"])
def test_a_long_table_becomes_one_column_a_symbol(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"prices{suffix}"
    source = tmp_path / "source.csv"
    source.write_text(LONG)
    table = pd.read_csv(source, dtype={"symbol": str})
    if suffix == ".parquet":
        table.to_parquet(path)
    elif suffix == ".jsonl":
        table.to_json(path, orient="records", lines=True)
    elif suffix == ".csv.gz":
        path.write_bytes(gzip.compress(LONG.encode()))
    else:
        path.write_text(LONG)

    prices = read_prices(path)

    assert list(prices.closes.columns) == ["000001", "MSFT"]
    assert list(prices.closes.index.astype(str)) == [
        "2020-01-02 00:00:00+00:00",
        "2020-01-03 00:00:00+00:00",
    ]
    # Adjusted closes win over closes; the volume stays as it was traded.
    np.testing.assert_array_equal(prices.closes, np.array([[5, np.nan], [5.5, 20]]))
    volume = np.array([[700, np.nan], [np.nan, 900]])
    np.testing.assert_array_equal(prices.bars["volume"], volume)
    np.testing.assert_array_equal(prices.bars["close"], np.array([[10, np.nan], [11, 20]]))
    assert prices.bars.keys() == {"close", "volume"}


def test_a_long_table_tells_the_currency_of_each_symbol(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    lines = ["symbol,date,close,currency", "A,2020-01-02,1,GBp", "A,2020-01-03,1,"]
    path.write_text("\n".join([*lines, "B,2020-01-02,1, GBP", "C,2020-01-02,1,"]) + "\n")

    assert read_prices(path).currencies == {"A": "GBp", "B": "GBP"}
    assert read_prices(path, symbols=["B"]).currencies == {"B": "GBP"}

    path.write_text("\n".join([*lines, "A,2020-01-06,1,GBP"]) + "\n")
    with pytest.raises(DataError, match="has prices of A in GBp and in GBP, expected one"):
        read_prices(path)


def test_only_the_symbols_that_are_named_are_given(tmp_path: Path) -> None:
    path = tmp_path / "prices.csv"
    path.write_text(LONG)

    prices = read_prices(path, symbols=["MSFT"])

    assert list(prices.closes.columns) == ["MSFT"]
    assert list(prices.bars["volume"].columns) == ["MSFT"]
    with pytest.raises(DataError, match="has no symbol 'GE'"):
        read_prices(path, symbols=["MSFT", "GE"])


def test_a_wide_table_has_its_times_in_utc(tmp_path: Path) -> None:
    path = tmp_path / "closes.csv"
    path.write_text("time,A,B\n2020-01-02T16:00:00-05:00,1,\n2020-01-03T21:00:00Z,2,3\n")

    closes = read_closes(path)

    assert closes.index[0] == pd.Timestamp("2020-01-02T21:00:00Z")
    np.testing.assert_array_equal(closes, np.array([[1, np.nan], [2, 3]]))


def test_a_frame_that_is_indexed_by_its_times_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "closes.parquet"
    days = pd.date_range("2020-01-02", periods=3, freq="D")
    pd.DataFrame({"A": [1.0, 2, 3], "B": [4.0, None, 6]}, index=days).to_parquet(path)

    closes = read_closes(path)

    assert list(closes.columns) == ["A", "B"]
    assert list(closes.index) == list(days.tz_localize("UTC"))
    np.testing.assert_array_equal(closes["B"], [4, np.nan, 6])


def test_a_symbol_is_what_is_written_and_a_missing_close_is_none(tmp_path: Path) -> None:
    path = tmp_path / "closes.csv"
    path.write_text(
        "symbol,date,close\nNA,2020-01-02,5\nNA,2020-01-03,null\n 001,2020-01-03,\n"
    )  # spaces around a symbol are no part of it

    closes = read_closes(path)

    assert list(closes.columns) == ["001", "NA"]
    np.testing.assert_array_equal(closes["NA"], [5, np.nan])
    assert closes["001"].isna().all()


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        pytest.param("Date,A\n2020-01-02,5\n2020-01-01,6\n", "dates must rise", id="order"),
        pytest.param("Date,A\n2020-01-01,5\n2020-01-02,0\n", "0.0 of A at 2020", id="zero"),
        pytest.param("Date,A\n2020-01-01,inf\n", "not above 0: inf", id="infinite"),
        pytest.param("Date,A\n2020-01-01,five\n", "expected numbers in 'A'", id="words"),
        pytest.param("Name,A\nx,5\n", "line 2, 'Name': expected a date", id="no-dates"),
        pytest.param("Date\n2020-01-01\n", "at least one symbol", id="no-symbol"),
        pytest.param("Date,A\n", "holds no row", id="empty"),
        pytest.param("symbol,close\nA,5\n", "lacks column 'date' or", id="no-time"),
        pytest.param(
            "symbol,date,close\n,2020-01-02,5\n", "line 2: expected one", id="whose"
        ),
        pytest.param(
            "symbol,date,close\n  ,2020-01-02,5\n", "line 2: expected one", id="blank"
        ),
        pytest.param(
            "symbol,time,close\nA,2020-01-02 16:00,5\n", "expected a zone", id="no-zone"
        ),
        pytest.param(
            "symbol,date,close\nA,2020-01-02,5\nA,2020-01-02,6\n",
            "two bars of A",
            id="twice",
        ),
        pytest.param(
            "symbol,date,close,Adj Close\nA,2020-01-02,5,\n",
            "no number in 'Adj Close': fill",
            id="unadjusted",
        ),
    ],
)
def test_a_table_that_is_not_prices_is_refused(
    tmp_path: Path, table: str, problem: str
) -> None:
    path = tmp_path / "closes.csv"
    path.write_text(table)

    with pytest.raises(DataError, match=problem) as caught:
        read_closes(path)

    assert str(path) in str(caught.value)
