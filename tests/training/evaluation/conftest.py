from __future__ import annotations

from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from megatick_server.forecast import Forecaster, load_forecaster
from megatick_training.forecasting.news import News, Story
from megatick_training.forecasting.windows import Windows, make_windows

SHIPPED = Path(__file__).parents[3] / (
    "model_repository/shared/price_forecast/1/forecaster.json"
)
DAY = np.timedelta64(1, "D")


@pytest.fixture
def forecaster() -> Forecaster:
    """A random walk with standard normal quantiles, fitted until the end of 2019."""
    normal = ((-1.645, -1.282, -0.674, 0.0, 0.674, 1.282, 1.645),) * 3
    changes = {
        "quantiles": normal,
        "baseline_quantiles": normal,
        "features": (),
        "location": (),
        "log_scale": (),
        "fitted_until": date(2019, 12, 31),
    }
    return load_forecaster(SHIPPED).model_copy(update=changes)


@pytest.fixture
def heeding(forecaster: Forecaster) -> Forecaster:
    """The same, whose place follows the mean sentiment."""
    leaning = {
        "features": ("sentiment_mean",),
        "location": ((1.0,),) * 3,
        "log_scale": ((0.0,),) * 3,
    }
    return forecaster.model_copy(update=leaning)


@pytest.fixture
def closes() -> pd.DataFrame:
    """Four symbols, 240 bars of 2020, a random walk of 1 % a bar."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2020-01-01", periods=240, tz="UTC")
    moves = rng.normal(scale=0.01, size=(240, 4))
    return pd.DataFrame(100 * np.exp(moves.cumsum(axis=0)), days, columns=list("ABCD"))


@pytest.fixture
def news() -> News:
    """A text each noon on A, with a score drawn anew each day."""
    at = np.datetime64("2020-01-01T12:00", "ns") + np.arange(240) * DAY
    scores = np.random.default_rng(1).uniform(-1, 1, 240).astype(np.float32)
    return News({"A": Story(at=at, scores=scores)})


@pytest.fixture
def windows(closes: pd.DataFrame) -> Windows:
    return make_windows(closes, news=None, half_life_s=86_400.0)
