from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from statsforecast.models import AutoETS

from megatick_server.forecast import Forecast, Forecaster
from megatick_training.evaluation.competitors import (
    auto_ets,
    drift,
    price_only,
    random_walk,
)
from megatick_training.forecasting.news import News
from megatick_training.forecasting.windows import Windows, make_windows

MEDIAN = 3


@pytest.fixture
def few(windows: Windows) -> Windows:
    return windows.take(np.arange(len(windows)) % 175 == 0)


def forecasts(forecaster: Forecaster, windows: Windows) -> Forecast:
    return forecaster.forecast(windows.closes, windows.state, windows.elapsed_s)


def test_the_random_walk_stays_and_widens(forecaster: Forecaster, few: Windows) -> None:
    quantiles = random_walk(forecasts(forecaster, few))

    np.testing.assert_array_equal(quantiles[..., MEDIAN], 0)
    np.testing.assert_allclose(quantiles[:, 1] / 5**0.5, quantiles[:, 0], rtol=1e-5)


def test_drift_goes_on_as_the_window_went(forecaster: Forecaster, few: Windows) -> None:
    said = forecasts(forecaster, few)

    quantiles = drift(said, few)

    went = np.log(few.closes[:, -1] / few.closes[:, 0]) / 63  # 64 closes, 63 steps
    moved = went[:, None] * [1, 5, 20]
    np.testing.assert_allclose(quantiles[..., MEDIAN], moved, atol=1e-6)
    widths = np.diff(quantiles, axis=2)
    np.testing.assert_allclose(widths, np.diff(random_walk(said), axis=2))


def test_price_only_has_read_nothing(
    heeding: Forecaster, closes: pd.DataFrame, news: News
) -> None:
    told = make_windows(closes[["A"]], news=news, half_life_s=86_400.0)

    said = forecasts(heeding, told)
    without = price_only(heeding, told)

    np.testing.assert_allclose(without, random_walk(said))
    assert (said.quantiles[:, 0, MEDIAN] != without[:, 0, MEDIAN]).all()


def test_auto_ets_is_statsforecasts(forecaster: Forecaster, few: Windows) -> None:
    quantiles = auto_ets(forecaster, few)

    logs = np.log(few.closes[1].astype(np.float64))
    model = AutoETS(season_length=1, model="AZN")
    said = model.forecast(logs, 20, level=[80])
    for index, bars in enumerate((1, 5, 20)):
        expected = [said[name][bars - 1] - logs[-1] for name in ("lo-80", "mean", "hi-80")]
        np.testing.assert_allclose(quantiles[1, index, [1, MEDIAN, 5]], expected)
    assert (np.diff(quantiles, axis=2) > 0).all()
