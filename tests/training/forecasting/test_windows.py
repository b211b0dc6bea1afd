from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from megatick_training.forecasting.news import News, Story
from megatick_training.forecasting.windows import dates_of, make_windows


def table(bars: int, **symbols: npt.NDArray[np.float64]) -> pd.DataFrame:
    index = pd.date_range("2020-01-01", periods=bars, freq="D", tz="UTC")
    return pd.DataFrame(symbols, index=index)


def test_a_window_holds_64_closes_and_what_followed() -> None:
    # One per cent a bar: the log return to h bars is h·0.01.
    closes = table(70, A=np.exp(0.01 * np.arange(70)))

    windows = make_windows(closes, news=None, half_life_s=1)

    assert len(windows) == 6  # bars 63 to 68: the last has no bar after it
    np.testing.assert_allclose(windows.closes[0], closes["A"][:64], rtol=1e-6)
    np.testing.assert_allclose(windows.returns[0], [0.01, 0.05, np.nan], rtol=1e-9)
    np.testing.assert_allclose(windows.returns[5], [0.01, np.nan, np.nan], rtol=1e-9)
    assert windows.at[0] == np.datetime64("2020-03-04")  # 63 days after 1 January
    assert windows.until[0, 1] == np.datetime64("2020-03-09")
    assert np.isnat(windows.until[0, 2])


def test_a_bar_of_a_symbol_is_one_at_which_it_has_a_close() -> None:
    prices = np.exp(0.01 * np.arange(70))
    prices[[10, 65]] = np.nan  # a holiday

    windows = make_windows(table(70, A=prices), news=None, half_life_s=1)

    assert len(windows) == 4
    assert not np.isnan(windows.closes).any()
    # From bar 64 over the holiday to bar 66.
    np.testing.assert_allclose(windows.returns[0, 0], 0.02, rtol=1e-9)


@pytest.mark.parametrize(
    ("hours_apart", "every", "expected"),
    [
        pytest.param(0, 1, [1, 5, 20, 84], id="one-close-a-day"),
        pytest.param(9, 1, [2, 10, 40, 168], id="two"),
        pytest.param(0, 3, [1, 2, 7, 30], id="every-third-day"),  # 84·7/20 = 29.4
    ],
)
def test_bars_take_as_many_dates_as_there_are_closes_meanwhile(
    hours_apart: int, every: int, expected: list[int]
) -> None:
    one = table(200, A=np.exp(0.01 * np.arange(200)))
    other = one.rename(columns={"A": "B"}).shift(freq=pd.Timedelta(hours=hours_apart))
    windows = make_windows(one.join(other, how="outer"), news=None, half_life_s=1)
    windows = windows.take(np.isin(windows.at, np.unique(windows.at)[::every]))

    found = [dates_of(bars, at=windows.at, until=windows.until) for bars in (1, 5, 20, 84)]

    assert found == expected


def test_news_of_a_symbol_is_known_to_its_own_windows_alone() -> None:
    prices = np.exp(0.01 * np.arange(66))
    story = Story(
        np.array(["2020-03-04T12:00"], "datetime64[ns]"), np.array([0.5], np.float32)
    )

    windows = make_windows(
        table(66, A=prices, B=prices), news=News({"A": story}), half_life_s=1
    )

    # Bars of 4 and 5 March; the text came between them.
    np.testing.assert_allclose(windows.state[:, 0], [0, 0.5, 0, 0])
    np.testing.assert_allclose(windows.elapsed_s[:, 0], [0, 43_200, 0, 0])
