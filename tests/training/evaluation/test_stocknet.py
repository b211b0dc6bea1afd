from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from megatick_server.forecast import Forecaster
from megatick_training.errors import EvaluationError
from megatick_training.evaluation.stocknet import judge_stocknet, scores_table
from megatick_training.forecasting.windows import Windows, make_windows


@pytest.fixture(scope="module")
def windows() -> Windows:
    """Two symbols, each day of 2013-10 to 2015-09; the last days move as is told."""
    rng = np.random.default_rng(0)
    days = pd.date_range("2013-10-01", "2015-09-30", tz="UTC")
    moves = rng.normal(scale=0.02, size=(len(days), 2))
    moves[-4:, 0] = [0.0055001, 0.0054, -0.005, -0.0050001]  # up, none, none, down
    moves[-4:, 1] = [0, 0.5, 0.3, -0.2]  # nothing moved, then up, up, down
    moves[-61:-4] = 0
    closes = pd.DataFrame(100 * np.cumprod(1 + moves, axis=0), days, columns=["A", "B"])
    return make_windows(closes, news=None, half_life_s=86_400.0)


def test_the_filter_drops_small_moves_and_only_it(
    forecaster: Forecaster, windows: Windows
) -> None:
    scores = {(e.days, e.predictor): e for e in judge_stocknet(forecaster, windows)}

    published = scores["as published", "always up"]
    every = scores["every day that moved", "always up"]
    assert (published.labelled, published.up_share) == (5, 3 / 5)
    assert (every.labelled, every.up_share) == (7, 4 / 7)
    assert published.direction.accuracy == 3 / 5
    assert published.direction.mcc == 0
    assert scores["as published", "the forecaster"].direction.calls == 0
    assert ("as published", "logistic regression on prices and news") not in scores


def test_its_table_has_a_row_a_score(forecaster: Forecaster, windows: Windows) -> None:
    scores = judge_stocknet(forecaster, windows, news=True)

    assert len(scores_table(scores)) == len(scores) == 2 * 4


def test_days_that_are_not_there_are_missed(
    forecaster: Forecaster, windows: Windows
) -> None:
    with pytest.raises(EvaluationError, match="StockNet's test days: expected some from"):
        judge_stocknet(forecaster, windows, part="test")
