from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from megatick_decisions.mood import FEWEST_SYMBOLS, mood_at
from megatick_training.forecasting.news import News, Story

HOUR_S = 3600.0


def story(*texts: tuple[str, float]) -> Story:
    return Story(
        at=np.array([at for at, _ in texts], "datetime64[ns]"),
        scores=np.array([score for _, score in texts], np.float32),
    )


def moments(*given: str) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(given, tz="UTC")


def test_a_symbols_mood_is_the_decayed_mean_with_a_neutral_text_among_its_own() -> None:
    news = News({"A": story(("2020-01-01T10:00", 0.8), ("2020-01-01T12:00", -0.4))})

    mood = mood_at(
        news,
        moments(
            "2020-01-01T10:00",  # in the very second of the first: not read yet
            "2020-01-01T12:00",  # the first alone, a half-life old: 0.4 / (0.5 + 1)
            "2020-01-01T12:00:01",
            "2020-01-09T12:00",  # eight days of two hours: nothing is left
        ),
        half_life_s=2 * HOUR_S,
    )

    # Both: 0.8 / 2 - 0.4 = 0 of the weight 1.5.
    expected = [np.nan, 0.4 / 1.5, 0.0, 0.0]
    np.testing.assert_allclose(mood.symbols["A"], expected, atol=1e-4)


def test_the_market_is_the_mean_over_symbols_and_not_over_texts() -> None:
    loud = story(*((f"2020-01-01T10:00:0{second}", 1.0) for second in range(9)))
    news = News({"LOUD": loud, "QUIET": story(("2020-01-01T10:00", -1.0))})

    mood = mood_at(news, moments("2020-01-01T10:00:09"), half_life_s=1e9)

    now = mood.market.iloc[0]
    assert now["mood"] == pytest.approx((9 / 10 - 1 / 2) / 2, abs=1e-6)
    assert now["breadth"] == 0  # one above, one below
    assert now["symbols"] == 2
    assert np.isnan(now["low"])  # two symbols tell no spread


def test_the_interval_is_students_over_the_symbols() -> None:
    scores = np.array([0.9, 0.5, 0.1, -0.3, 0.8])
    assert len(scores) == FEWEST_SYMBOLS
    stories = {f"S{n}": story(("2020-01-01", score)) for n, score in enumerate(scores)}

    mood = mood_at(News(stories), moments("2020-01-02"), half_life_s=1e12)

    half = scores / 2  # one text of weight 1, and the neutral one
    low, high = stats.t.interval(0.95, 4, half.mean(), stats.sem(half))
    now = mood.market.iloc[0]
    assert (now["low"], now["high"]) == pytest.approx((low, high), abs=1e-6)
    assert now["breadth"] == pytest.approx(3 / 5)


def test_without_news_there_is_no_mood() -> None:
    mood = mood_at(News({}), moments("2020-01-01", "2020-01-02"), half_life_s=1.0)

    assert mood.symbols.shape == (2, 0)
    assert mood.market["mood"].isna().all()
    assert mood.market["symbols"].tolist() == [0, 0]
