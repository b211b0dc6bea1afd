from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from megatick_decisions.errors import TooFewCloses
from megatick_decisions.known import HELD_BY_DEFAULT, know
from megatick_training.errors import DataError
from megatick_training.headlines import Headlines

CLOSES = pd.DataFrame(
    {"A": [1.0, 2.0, np.nan, np.nan], "B": [np.nan, np.nan, 8.0, 9.0]},
    index=pd.DatetimeIndex(
        ["2020-01-01", "2020-01-02", "2020-01-02T12:00", "2020-01-03"], tz="UTC"
    ),
)


def headlines(*at: str) -> Headlines:
    return Headlines(
        pd.DataFrame(
            {
                "symbol": "A",
                "published_at": pd.DatetimeIndex(at, tz="UTC"),
                "text": [f"text {place}" for place in range(len(at))],
                "score": np.nan,
            }
        )
    )


def holdings(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "holdings.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_nothing_later_is_known() -> None:
    known = know(
        CLOSES,
        headlines("2020-01-01T12:00", "2020-01-02T00:00", "2020-01-02T00:01"),
        as_of=datetime(2020, 1, 2),
    )

    assert known.closes.to_dict("list") == {"A": [1.0, 2.0]}  # B had no close by then
    assert known.headlines.rows["text"].tolist() == ["text 0"]  # published before it


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ([], "2020-01-03T00:00:00Z"),
        (["2020-01-02T12:00"], "2020-01-03T00:00:00Z"),
        (["2020-01-03T12:00:00.5"], "2020-01-03T12:00:01Z"),
    ],
)
def test_it_is_after_the_last_close_and_the_last_text(
    texts: list[str], expected: str
) -> None:
    known = know(CLOSES, headlines(*texts) if texts else Headlines.none())

    assert known.as_of == pd.Timestamp(expected)
    assert len(known.headlines) == len(texts)


def test_a_moment_with_a_zone_is_that_moment() -> None:
    at = datetime(2020, 1, 2, 2, tzinfo=timezone(timedelta(hours=2)))

    known = know(CLOSES, Headlines.none(), as_of=at)

    assert known.as_of == pd.Timestamp("2020-01-02T00:00Z")


def test_a_moment_before_the_first_close_is_refused() -> None:
    with pytest.raises(TooFewCloses, match=r"2 of a symbol by 2019-12-31.*Give a later"):
        know(CLOSES, Headlines.none(), as_of=datetime(2019, 12, 31))


def test_a_quantity_is_worth_its_last_close_and_no_later_one(tmp_path: Path) -> None:
    path = holdings(tmp_path, "symbol,quantity", "A,-10", "B,0")

    late = know(CLOSES, Headlines.none(), holdings=path)

    assert late.values.to_dict() == {"A": -20.0}
    with pytest.raises(DataError, match=r"'B'.*without two closes"):
        know(CLOSES, Headlines.none(), holdings=path, as_of=datetime(2020, 1, 2))


def test_a_value_is_itself_and_nothing_given_holds_each_alike(tmp_path: Path) -> None:
    path = holdings(tmp_path, "ticker,value", "B,500.5")

    assert know(CLOSES, Headlines.none(), holdings=path).values.to_dict() == {"B": 500.5}
    alike = know(CLOSES, Headlines.none()).values
    assert alike.to_dict() == {"A": HELD_BY_DEFAULT, "B": HELD_BY_DEFAULT}


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (["symbol,shares", "A,1"], "lacks columns 'quantity' and 'value'"),
        (["symbol,quantity", "A,1", "A,2"], r"line 3 \('A'\): names a symbol that stands"),
        (["symbol,quantity", ",1"], "line 2 .*names no symbol"),
        (["symbol,quantity", "C,1"], r"line 2 \('C'\): names a symbol without two closes"),
        (["symbol,quantity", "A,"], "expected a number in 'quantity'"),
        (["symbol,quantity", "A,0"], "holds nothing"),
        (["symbol,quantity", "A,many"], "expected numbers in 'quantity'"),
    ],
)
def test_bad_holdings_are_named(tmp_path: Path, lines: list[str], problem: str) -> None:
    with pytest.raises(DataError, match=problem):
        know(CLOSES, Headlines.none(), holdings=holdings(tmp_path, *lines))


@pytest.mark.parametrize(
    ("lines", "priced", "currency"),
    [
        (["symbol,quantity", "A,1", "B,1"], {}, ""),
        (["symbol,quantity", "A,1", "B,1"], {"A": "USD", "B": "USD"}, "USD"),
        (["symbol,quantity,currency", "A,1,EUR", "B,-1,EUR"], {}, "EUR"),
        (["symbol,quantity", "A,1", "B,0"], {"A": "USD", "B": "EUR"}, "USD"),
        (["symbol,value", "A,1", "B,1"], {"A": "USD", "B": "EUR"}, ""),
        (["symbol,value,currency", "A,1,CHF", "B,1,CHF"], {"A": "USD"}, "CHF"),
        (None, {"A": "USD", "B": "USD"}, "USD"),
        (None, {"A": "USD"}, ""),
    ],
)
def test_what_is_held_is_of_one_currency(
    tmp_path: Path, lines: list[str] | None, priced: dict[str, str], currency: str
) -> None:
    path = None if lines is None else holdings(tmp_path, *lines)

    known = know(CLOSES, Headlines.none(), holdings=path, currencies=priced)

    assert known.currency == currency


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        (
            ["symbol,quantity", "A,1", "B,1"],
            r"2 currencies \(USD: A; EUR: B\), expected one",
        ),
        (
            ["symbol,value,currency", "A,1,USD", "B,1,"],
            r"2 currencies \(USD: A; none named: B\)",
        ),
        (
            ["symbol,quantity,currency", "A,1,EUR", "B,1,EUR"],
            r"line 2 \('A'\): is held in EUR, but its prices are in USD",
        ),
    ],
)
def test_amounts_of_several_currencies_are_not_added_up(
    tmp_path: Path, lines: list[str], problem: str
) -> None:
    path = holdings(tmp_path, *lines)

    with pytest.raises(DataError, match=problem):
        know(
            CLOSES,
            Headlines.none(),
            holdings=path,
            currencies={"A": "USD", "B": "EUR"},
        )


@pytest.mark.parametrize("close", [0.0, -3.0, np.nan])
def test_a_quantity_needs_a_price_that_it_traded_at(tmp_path: Path, close: float) -> None:
    traded = CLOSES.assign(B=[np.nan, np.nan, np.nan, close])

    def held(*lines: str) -> dict[str, float]:
        path = holdings(tmp_path, *lines)
        known = know(CLOSES, Headlines.none(), holdings=path, traded=traded)
        return {str(symbol): value for symbol, value in known.values.items()}

    with pytest.raises(DataError, match=r"line 3 \('B'\): expected a last 'close' above 0"):
        held("symbol,quantity", "A,1", "B,1")
    assert held("symbol,value", "A,1", "B,1") == {"A": 1, "B": 1}


def test_what_has_too_few_closes_is_named_and_an_empty_row_is_no_bar() -> None:
    closes = CLOSES.assign(A=[1.0, 2.0, np.nan, 3.0], B=[np.nan, np.nan, 8.0, np.nan])
    closes.loc[pd.Timestamp("2020-01-03", tz="UTC")] = np.nan

    known = know(closes, Headlines.none(), as_of=datetime(2020, 1, 2, 12))

    assert known.without_closes == ("B",)  # it has one: from no fewer than two is forecast
    assert know(closes.assign(B=np.nan), Headlines.none()).as_of == pd.Timestamp(
        "2020-01-02", tz="UTC"
    )
    assert known.closes.to_dict("list") == {"A": [1.0, 2.0]}
    with pytest.raises(TooFewCloses, match="expected at least 2 of a symbol, found none"):
        know(closes.assign(A=np.nan, B=np.nan), Headlines.none())


def test_texts_about_symbols_without_a_close_are_counted_and_left_out() -> None:
    rows = headlines("2020-01-01T12:00", "2020-01-01T13:00", "2020-01-04T12:00").rows

    told = Headlines(rows.assign(symbol=["A", "B", "Z"]))
    early = know(CLOSES, told, as_of=datetime(2020, 1, 2))  # B has no close by then
    late = know(CLOSES, told)

    assert early.headlines.rows["text"].tolist() == ["text 0"]
    assert early.unpriced == {"B": 1}
    assert late.as_of == pd.Timestamp("2020-01-03", tz="UTC")  # Z's text is nobody's
    assert late.headlines.rows["text"].tolist() == ["text 0", "text 1"]
    assert late.unpriced == {}
    assert know(CLOSES, told, as_of=datetime(2020, 1, 5)).unpriced == {"Z": 1}
