from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from megatick_training.errors import DataError
from megatick_training.forecasting.news import Story, read_news, states_at

HOUR = 3600.0


def times(*given: str) -> npt.NDArray[np.datetime64]:
    return np.array(given, "datetime64[ns]")


def test_a_bar_knows_what_was_published_before_its_close_and_nothing_later() -> None:
    story = Story(
        at=times("2020-01-01T10:00", "2020-01-01T12:00"),
        scores=np.array([0.8, -0.4], np.float32),
    )
    bars = times(
        "2020-01-01T09:00",  # before any text
        "2020-01-01T10:00",  # in the very second of the first: not read yet
        "2020-01-01T11:00",
        "2020-01-01T15:00",
    )

    states, elapsed_s = states_at(story, bars, half_life_s=2 * HOUR)

    # One half-life lies between the texts: 0.8 / 2 - 0.4 = 0 over a weight of 1.5.
    none, one, both = [0.0, 0, 0, 0], [0.8, 1, 0.8, 1], [0, 1.5, -0.4, 2]
    np.testing.assert_allclose(states, np.array([none, none, one, both]), atol=1e-7)
    np.testing.assert_array_equal(elapsed_s[:, 0], [0, 0, HOUR, 3 * HOUR])


def test_without_news_every_state_is_zero() -> None:
    story = Story(times(), np.empty(0, np.float32))

    states, elapsed_s = states_at(story, times("2020-01-01", "2020-01-02"), half_life_s=1)

    assert not states.any()
    assert not elapsed_s.any()


def test_a_table_of_scored_texts_is_read_by_symbol_in_order_of_time(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_text(
        "ticker,published_at,headline,score\n"
        "A,2020-01-02T03:00:00+02:00,later,0.5\n"
        "B,2020-01-01T00:00:00Z,other,-1\n"
        "A,2020-01-02T00:30:00Z,earlier,0.25\n"
    )

    news = read_news(path)

    assert news.texts == 3
    assert list(news.stories["A"].scores) == [0.25, 0.5]
    assert list(news.stories["A"].at) == list(times("2020-01-02T00:30", "2020-01-02T01:00"))


def test_a_collected_text_is_news_of_each_of_its_symbols(tmp_path: Path) -> None:
    path = tmp_path / "news.parquet"
    pd.DataFrame(
        {
            "symbol": [["A", "B"], [], ["B"]],
            "published_at": pd.date_range("2020-01-02T12:00Z", periods=3, freq="D"),
            "score": [0.5, 1.0, -0.25],
        }
    ).to_parquet(path)

    news = read_news(path)

    assert {name: list(story.scores) for name, story in news.stories.items()} == {
        "A": [0.5],
        "B": [0.5, -0.25],
    }


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        pytest.param("A,2020-01-02T03:00:00,0.5", "line 2, .* a zone, as in", id="no-zone"),
        pytest.param("A,2020-01-02,0.5", "line 2, .* a zone, as in", id="a-date-alone"),
        pytest.param("A,2020-01-02T03:00:00Z,1.5", r"line 2 .*\[-1, 1\]", id="score"),
        pytest.param("A,2020-01-02T03:00:00Z,", r"line 2 .*\[-1, 1\]", id="no-score"),
        pytest.param(",2020-01-02T03:00:00Z,1", "names no symbol", id="no-symbol"),
    ],
)
def test_a_row_that_cannot_be_placed_is_refused(
    tmp_path: Path, row: str, problem: str
) -> None:
    path = tmp_path / "news.csv"
    path.write_text(f"symbol,published_at,score\n{row}\n")

    with pytest.raises(DataError, match=problem):
        read_news(path)


def test_texts_without_scores_say_how_to_get_them(tmp_path: Path) -> None:
    path = tmp_path / "news.csv"
    path.write_text("symbol,published_at,text\nA,2020-01-02T03:00:00Z,good\n")

    with pytest.raises(DataError, match="score its texts first"):
        read_news(path)
