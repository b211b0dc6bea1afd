"""Each trap flatters a forecast on purpose, and each is sprung."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from megatick_training.errors import LeakageError
from megatick_training.evaluation.leakage import (
    refuse_fitted_dates,
    refuse_look_ahead,
    refuse_skill_on_shuffled,
)
from megatick_training.forecasting.news import News, Story
from megatick_training.forecasting.windows import Windows, make_windows

Float64Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]


def honest(closes: pd.DataFrame, news: News | None) -> Windows:
    return make_windows(closes, news=news, half_life_s=86_400.0)


def news_a_day_early(closes: pd.DataFrame, news: News | None) -> Windows:
    assert news is not None
    early = {
        symbol: Story(story.at - np.timedelta64(1, "D"), story.scores)
        for symbol, story in news.stories.items()
    }
    return honest(closes, News(early))


def tomorrows_price(closes: pd.DataFrame, news: News | None) -> Windows:
    return honest(closes.shift(-1).iloc[:-1], news)


def test_what_is_known_in_time_passes(closes: pd.DataFrame, news: News) -> None:
    refuse_look_ahead(honest, closes, news)
    refuse_look_ahead(honest, closes, None)


def test_news_from_a_day_later_is_caught(closes: pd.DataFrame, news: News) -> None:
    with pytest.raises(LeakageError, match=r"state of A at .* reads prices or news later"):
        refuse_look_ahead(news_a_day_early, closes, news)


def test_a_price_from_a_bar_later_is_caught(closes: pd.DataFrame) -> None:
    with pytest.raises(LeakageError, match=r"closes of A at .* reads prices or news later"):
        refuse_look_ahead(tomorrows_price, closes, None)


def outcomes() -> tuple[Float64Array, Times]:
    rng = np.random.default_rng(2)
    dates = np.repeat(np.datetime64("2020-01-01") + np.arange(250), 4)
    return rng.normal(size=1000), dates


def test_a_forecast_that_has_seen_the_outcomes_is_caught() -> None:
    returns, dates = outcomes()

    def seen(labels: Float64Array) -> Float64Array:
        noise = np.random.default_rng(3).normal(size=1000)
        return np.where(labels + noise > 0, 0.6, 0.4)

    with pytest.raises(LeakageError, match=r"forecasts of shuffled outcomes: .* knowing"):
        refuse_skill_on_shuffled(seen, returns, dates)


def test_true_skill_does_not_outlive_the_shuffle() -> None:
    returns, dates = outcomes()
    oracle = np.where(returns > 0, 0.9, 0.1)  # right, yet made without the shuffled labels

    refuse_skill_on_shuffled(lambda _: oracle, returns, dates)


def test_few_dates_that_overlap_are_no_leak() -> None:
    # Calls that stay, and moves of 20 bars on 25 dates: of luck alone, whatever the seed.
    rng = np.random.default_rng(4)
    dates = np.repeat(np.datetime64("2020-01-01") + np.arange(25), 4)
    calls = np.repeat(rng.uniform(size=5), 20)
    for seed in range(100):
        steps = rng.normal(size=(45, 1)) + rng.normal(size=(45, 4))
        moves = steps.cumsum(axis=0)
        returns = (moves[20:] - moves[:-20]).ravel()

        refuse_skill_on_shuffled(lambda _: calls, returns, dates, seed=seed)


def test_skill_on_dates_that_cannot_be_dealt_is_no_leak() -> None:
    # 3 symbols on the first date, 2 on the second, 1 on the third: each keeps its own.
    dates = np.repeat(np.datetime64("2020-01-01") + np.arange(3), [3, 2, 1])
    returns = np.array([1.0, -1, 2, -3, 1, -1])
    oracle = np.where(returns > 0, 0.9, 0.1)

    refuse_skill_on_shuffled(lambda _: oracle, returns, dates)


def test_no_call_is_no_skill() -> None:
    returns, dates = outcomes()

    refuse_skill_on_shuffled(lambda _: np.full(1000, 0.5), returns, dates)


def test_dates_that_were_fitted_on_are_caught() -> None:
    fitted_until = pd.Timestamp("2020-01-31")

    refuse_fitted_dates(pd.Timestamp("2020-02-01"), fitted_until)
    with pytest.raises(LeakageError, match="expected all after 2020-01-31"):
        refuse_fitted_dates(fitted_until, fitted_until)
