from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from megatick_training.errors import DataError
from megatick_training.prices import read_closes
from megatick_training.random_walk import fit_random_walk


def gaussian_walk(bars: int, symbols: int) -> pd.DataFrame:
    steps = np.random.default_rng(0).normal(0, 0.01, (bars, symbols))
    dates = pd.date_range("2000-01-03", periods=bars, freq="B")
    return pd.DataFrame(100 * np.exp(np.cumsum(steps, axis=0)), index=dates)


def test_on_a_gaussian_walk_intervals_cover_what_they_say() -> None:
    closes = gaussian_walk(3000, 8)

    forecaster, judged = fit_random_walk(closes, until=closes.index[1500], source="test")

    # About 11,000 held-back moves; those to 20 bars overlap, so 3 points are allowed.
    for row in judged:
        assert row.covered == pytest.approx((row.coverage,) * 3, abs=0.03)
    # The normal's 0.95 quantile is 1.645; a volatility that is itself estimated from
    # about 17 effective returns makes the standardised move a little wider.
    # The same at every horizon: the root of the horizon is taken out.
    assert all(1.645 < row[-1] < 1.85 for row in forecaster.quantiles)
    assert forecaster.quantiles[0][0] == -forecaster.quantiles[0][-1]
    assert forecaster.edge == (False, False, False)


def test_what_comes_later_does_not_move_the_fit() -> None:
    closes = gaussian_walk(1200, 2)
    shaken = closes.copy()
    shaken.iloc[800:] *= np.linspace(1, 40, 400)[:, None]

    fits = [
        fit_random_walk(table, until=closes.index[799], source="test")[0].quantiles
        for table in (closes, shaken)
    ]

    assert fits[0] == fits[1]


def test_too_few_bars_are_refused() -> None:
    closes = gaussian_walk(80, 1)

    with pytest.raises(DataError, match="needs more than 65 bars both up to and after"):
        fit_random_walk(closes, until=closes.index[40], source="test")


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        pytest.param("Date,A\n2020-01-02,5\n2020-01-01,6\n", "dates must rise", id="order"),
        pytest.param("Date,A\n2020-01-01,5\n2020-01-02,0\n", "not above 0", id="zero"),
        pytest.param("Date,A\n2020-01-01,five\n", "not a CSV table of closes", id="words"),
        pytest.param("Name,A\nx,5\n", "first column of dates", id="no-dates"),
    ],
)
def test_a_table_that_is_not_closes_is_refused(
    tmp_path: Path, table: str, problem: str
) -> None:
    path = tmp_path / "closes.csv"
    path.write_text(table)

    with pytest.raises(DataError, match=problem):
        read_closes(path)
