from __future__ import annotations

import numpy as np
import pandas as pd

from megatick_decisions.mood import mood_at
from megatick_decisions.page.moods import mood_section
from megatick_training.forecasting.news import news_of
from megatick_training.headlines import Headlines


def test_the_prices_drawn_lose_no_move_to_a_day_on_which_others_rest() -> None:
    """ROUND trades every day, WEEK not on the 4th and 5th, OVER not after the 3rd."""
    closes = pd.DataFrame(
        {
            "ROUND": [1.0, 1.0, 1.0, 1.0, 1.0, 1.0],
            "WEEK": [1.0, 1.0, 1.0, np.nan, np.nan, 8.0],
            "OVER": [1.0, 1.0, 8.0, np.nan, np.nan, np.nan],
        },
        pd.date_range("2020-01-01", periods=6, tz="UTC"),
    )
    rows = {"symbol": ["ROUND"], "published_at": [closes.index[0]], "text": "up"}
    told = Headlines(pd.DataFrame(rows | {"score": [0.5]}))
    moments = pd.DatetimeIndex(closes.index)

    section = mood_section(
        mood_at(news_of(told), moments, half_life_s=3600.0), closes, told
    )

    assert section.figure is not None
    (line,) = section.figure.axes[1].lines
    # log(8) of one: a mean of log(8)/3 on the 3rd, and on the 6th, of two, of log(8)/2
    expected = 100 * np.array([1.0, 1.0, 2.0, 2.0, 2.0, 2.0 * 8**0.5])
    np.testing.assert_allclose(np.asarray(line.get_ydata(), float), expected)
