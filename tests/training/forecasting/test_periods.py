from __future__ import annotations

from itertools import pairwise

import numpy as np
import pandas as pd
import pytest

from megatick_training.errors import TooLittleHistory
from megatick_training.forecasting.periods import FOLDS, Periods, between, make_periods
from megatick_training.forecasting.windows import Windows, make_windows


def windows(bars: int = 1063, symbols: int = 10) -> Windows:
    steps = np.random.default_rng(0).normal(0, 0.01, (bars, symbols))
    index = pd.date_range("2020-01-01", periods=bars, freq="D", tz="UTC")
    names = [f"S{number}" for number in range(symbols)]
    closes = pd.DataFrame(np.exp(np.cumsum(steps, axis=0)), index=index, columns=names)
    return make_windows(closes, news=None, half_life_s=1)


def periods(rows: Windows, **changes: object) -> Periods:
    settings = {
        "train_until": None,
        "calibrate_until": None,
        "hold_out_symbols": 0.2,
        "seed": 0,
    }
    return make_periods(rows, **settings | changes)  # type: ignore[arg-type]


def test_borders_stand_at_60_and_80_per_cent_of_the_bars() -> None:
    set_by_share = periods(windows())

    # 999 forecasts a symbol, from bar 63 (4 March 2020) on.
    first = pd.Timestamp("2020-03-04")
    assert set_by_share.start == first
    assert set_by_share.calibrate_from == first + pd.Timedelta(days=599)
    assert set_by_share.judge_from == first + pd.Timedelta(days=799)
    assert len(set_by_share.held_out) == 2


def test_a_day_that_is_given_belongs_to_what_it_ends() -> None:
    given = periods(
        windows(),
        train_until=pd.Timestamp("2021-01-31"),
        calibrate_until=pd.Timestamp("2021-12-31"),
    )

    assert given.calibrate_from == pd.Timestamp("2021-02-01")
    assert given.judge_from == pd.Timestamp("2022-01-01")


def test_another_seed_holds_out_other_symbols() -> None:
    assert periods(windows()).held_out != periods(windows(), seed=1).held_out


def test_no_return_lies_on_both_sides_of_a_border() -> None:
    rows = windows(symbols=1)
    border = pd.Timestamp("2021-06-01")

    for horizon in range(3):
        before = between(rows, None, border, horizon=horizon)
        after = between(rows, border, None, horizon=horizon)

        assert rows.until[before, horizon].max() < np.datetime64(border)
        assert rows.at[after].min() == np.datetime64(border)
        # The rows between are those whose return spans the border: one a bar.
        assert (before | after).sum() == (~np.isnat(rows.until[:, horizon])).sum() - (
            1,
            5,
            20,
        )[horizon]


def test_folds_follow_each_other_up_to_the_calibration() -> None:
    rows = periods(windows())

    folds = rows.folds()

    assert len(folds) == FOLDS
    assert all(end == start for (_, end), (start, _) in pairwise(folds))
    assert folds[0][0] == rows.start + 0.4 * (rows.calibrate_from - rows.start)
    assert folds[-1][1] == rows.calibrate_from


def test_a_table_without_a_window_is_refused() -> None:
    with pytest.raises(TooLittleHistory, match="has 0 moves to 1 bars"):
        periods(windows(bars=64, symbols=1))
