from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import typer

from megatick_cli.bar_closes import clock, closed_at, left_out
from megatick_training.errors import DataError
from megatick_training.forecasting.news import News, Story


def closes_of(close_time: str, *moments: str) -> list[str]:
    index = pd.DatetimeIndex(moments, tz="UTC")
    closes = pd.DataFrame({"A": range(len(index))}, index=index)
    moved = closed_at(closes, clock(close_time))
    assert moved["A"].tolist() == closes["A"].tolist()
    return [each.isoformat() for each in moved.index]


def test_a_date_closes_at_that_time_in_utc() -> None:
    assert closes_of("21:30", "2020-01-02") == ["2020-01-02T21:30:00+00:00"]


def test_new_york_closes_an_hour_earlier_in_summer() -> None:
    # Clocks went forward on 8 March 2020, and back on 1 November.
    days = ("2020-03-06", "2020-03-09", "2020-10-30", "2020-11-02")

    assert closes_of("16:00 America/New_York", *days) == [
        "2020-03-06T21:00:00+00:00",
        "2020-03-09T20:00:00+00:00",
        "2020-10-30T20:00:00+00:00",
        "2020-11-02T21:00:00+00:00",
    ]


def test_an_hour_that_is_there_twice_is_its_first_and_one_that_is_not_its_end() -> None:
    assert closes_of("01:30 America/New_York", "2020-11-01") == [
        "2020-11-01T05:30:00+00:00"
    ]
    assert closes_of("02:30 America/New_York", "2020-03-08") == [
        "2020-03-08T07:00:00+00:00"
    ]


MIDNIGHTS_IN_NEW_YORK = ("2020-01-02T05:00", "2020-01-03T05:00")  # as yfinance gives


def test_a_bar_with_a_time_stays() -> None:
    assert closes_of("00:00", *MIDNIGHTS_IN_NEW_YORK) == [
        "2020-01-02T05:00:00+00:00",
        "2020-01-03T05:00:00+00:00",
    ]


@pytest.mark.parametrize(
    "moments", [MIDNIGHTS_IN_NEW_YORK, ("2020-01-02", "2020-01-02T05:00")]
)
@pytest.mark.parametrize("given", ["16:00 America/New_York", "00:00 Asia/Tokyo"])
def test_a_close_time_of_bars_that_have_times_is_refused(
    moments: tuple[str, ...], given: str
) -> None:
    with pytest.raises(typer.BadParameter, match=r"times of their own, as .*T05:00:00"):
        closes_of(given, *moments)


def story(texts: int) -> Story:
    return Story(np.zeros(texts, "datetime64[ns]"), np.zeros(texts, np.float32))


def test_what_is_left_out_is_named() -> None:
    closes = pd.DataFrame({"A": range(100, 165), "B": [np.nan, *range(100, 164)]})
    news = News({"A": story(3), "Y": story(1), "Z": story(2)})

    assert left_out(closes, news, news_file=Path("n.csv")) == [
        "Left out, with no more than 64 closes: B.",
        "Left out, 3 of 6 texts, about other symbols than those of the prices: Y, Z.",
    ]
    assert left_out(closes[["A"]], News({"A": story(3)}), news_file=Path("n.csv")) == []
    assert left_out(closes[["A"]], None, news_file=None) == []


def test_news_of_none_of_the_symbols_is_refused() -> None:
    closes = pd.DataFrame({"AAPL": range(100, 165)})

    with pytest.raises(DataError, match=r"n.csv: .*about AAPL.O, they are of AAPL; write"):
        left_out(closes, News({"AAPL.O": story(3)}), news_file=Path("n.csv"))


@pytest.mark.parametrize("given", ["9pm", "16:00 Mars", "16:00 ../etc/passwd", "", "25:00"])
def test_what_is_no_time_is_refused(given: str) -> None:
    with pytest.raises(typer.BadParameter, match=r"HH:MM.*16:00 America/New_York"):
        clock(given)
