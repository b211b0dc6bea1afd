from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from megatick_server.forecast import Forecaster
from megatick_training.errors import EvaluationError
from megatick_training.evaluation import forecaster_judgement
from megatick_training.evaluation.diebold_mariano import DieboldMariano, diebold_mariano
from megatick_training.evaluation.forecaster_judgement import (
    AtHorizon,
    judge_forecaster,
    judge_investment,
)
from megatick_training.evaluation.forecaster_page import coverage_table
from megatick_training.evaluation.investment import Rule
from megatick_training.evaluation.metrics import Direction, direction
from megatick_training.forecasting.news import News
from megatick_training.forecasting.windows import Windows, make_windows

Float64Array = npt.NDArray[np.float64]


def judged_by(
    forecaster: Forecaster, windows: Windows, *, auto_ets_rows: int = 0
) -> tuple[AtHorizon, ...]:
    said = forecaster.forecast(windows.closes, windows.state, windows.elapsed_s)
    return judge_forecaster(forecaster, windows, said, auto_ets_rows=auto_ets_rows)


def test_a_random_walk_does_not_beat_itself(
    forecaster: Forecaster, windows: Windows
) -> None:
    judged = judged_by(forecaster, windows)

    assert [each.horizon_bars for each in judged] == [1, 5, 20]
    assert [set(each.versus) for each in judged] == [
        {"random walk", "drift", "price only"}
    ] * 3
    for each in judged:
        assert each.versus["random walk"].test.p_value == 1
        assert each.versus["random walk"].theirs.pinball == each.scores.pinball
        assert each.direction.calls == 0
    # 240 bars of 4 symbols, 63 before the first window; each horizon lacks its last bars.
    counts = [each.scores.forecasts for each in judged]
    assert counts == [4 * (240 - 63 - bars) for bars in (1, 5, 20)]


def test_its_price_errors_are_those_of_the_last_close(
    forecaster: Forecaster, windows: Windows, closes: pd.DataFrame
) -> None:
    judged = judged_by(forecaster, windows)

    table = closes.to_numpy()[63:]
    for each in judged:
        misses = np.abs(table[each.horizon_bars :] - table[: -each.horizon_bars])
        assert each.scores.price.mae == pytest.approx(misses.mean(), rel=1e-5)
        relative = misses / table[each.horizon_bars :]
        assert each.scores.price.mape == pytest.approx(relative.mean(), rel=1e-5)


def test_its_intervals_cover_what_a_random_walk_should(
    forecaster: Forecaster, windows: Windows
) -> None:
    first, *_ = judged_by(forecaster, windows)

    for coverage in first.scores.coverage:  # estimated volatility makes tails fatter
        assert coverage.overall == pytest.approx(coverage.nominal, abs=0.06)


def test_moves_overlap_over_more_dates_where_exchanges_close_at_other_hours(
    forecaster: Forecaster, closes: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = closes.add_prefix("other ").shift(freq=pd.Timedelta(hours=9))
    spanned, of_calls = [], []

    def test(*losses: Float64Array, horizon: int) -> DieboldMariano:
        spanned.append(horizon)
        return diebold_mariano(*losses, horizon=horizon)

    def calls(*given: Any, horizon: int) -> Direction:
        of_calls.append(horizon)
        return direction(*given, horizon=horizon)

    monkeypatch.setattr(forecaster_judgement, "diebold_mariano", test)
    monkeypatch.setattr(forecaster_judgement, "direction", calls)
    table = closes.join(other, how="outer")
    judged_by(forecaster, make_windows(table, news=None, half_life_s=1.0))

    assert of_calls == [2, 10, 40]
    assert spanned == [2] * 3 + [10] * 3 + [40] * 3


def test_what_stands_still_is_covered_by_nothing(
    forecaster: Forecaster, closes: pd.DataFrame
) -> None:
    moving, still = (
        judged_by(forecaster, make_windows(table, news=None, half_life_s=1.0))
        for table in (closes, closes.assign(FLAT=7.0))
    )

    for one, other in zip(moving, still, strict=True):
        assert other.scores.forecasts > one.scores.forecasts
        assert other.scores.coverage == one.scores.coverage
    with pytest.raises(EvaluationError, match="some of a price that moved within 64"):
        judged_by(forecaster, make_windows(closes * 0 + 7, news=None, half_life_s=1.0))


def test_the_better_width_wins(forecaster: Forecaster, windows: Windows) -> None:
    wide = tuple(tuple(3 * q for q in row) for row in forecaster.baseline_quantiles)
    better = forecaster.model_copy(update={"baseline_quantiles": wide})

    first, *_ = judged_by(better, windows)

    assert first.versus["random walk"].test.p_value < 0.001
    assert first.versus["random walk"].test.mean_difference < 0
    assert first.scores.crps < first.versus["random walk"].theirs.crps


def test_what_news_adds_is_judged(
    heeding: Forecaster, closes: pd.DataFrame, news: News
) -> None:
    first, *_ = judged_by(heeding, make_windows(closes, news=news, half_life_s=86_400.0))

    # Without news it is the random walk.
    versus = first.versus["price only"]
    assert versus.theirs.pinball == first.versus["random walk"].theirs.pinball
    assert versus.ours.pinball > versus.theirs.pinball


def test_a_regime_without_forecasts_has_no_coverage(
    forecaster: Forecaster, closes: pd.DataFrame
) -> None:
    halted = closes[["A"]].copy()
    halted.iloc[1:] = 50.0  # the first window alone holds a move

    judged = judged_by(forecaster, make_windows(halted, news=None, half_life_s=1.0))

    table = coverage_table(judged)
    assert table[["calm", "middle"]].isna().all(axis=None)
    assert (table["stormy"] == 100).all()  # it stood still, which is inside


def test_auto_ets_is_compared_on_dates_that_are_spread(
    forecaster: Forecaster, windows: Windows
) -> None:
    judged = judged_by(forecaster, windows, auto_ets_rows=100)

    # 704 rows on 176 dates: 25 dates are allowed, every eighth is 22.
    first = judged[0].versus["AutoETS"]
    assert first.ours.forecasts == first.theirs.forecasts == 4 * 22
    assert first.ours.pinball == pytest.approx(first.theirs.pinball, rel=0.2)


def test_other_horizons_are_refused(forecaster: Forecaster, windows: Windows) -> None:
    other = forecaster.model_copy(update={"horizons_bars": (1, 5, 10)})

    with pytest.raises(EvaluationError, match=r"\(1, 5, 20\), found \(1, 5, 10\)"):
        judged_by(other, windows)


def test_a_walk_that_leans_nowhere_never_invests(
    forecaster: Forecaster, windows: Windows
) -> None:
    said = forecaster.forecast(windows.closes, windows.state, windows.elapsed_s)

    invested = judge_investment(said, windows, Rule())

    assert invested.ours.annual_return == 0
    assert invested.ours.turnover == 0
    assert invested.held.turnover > 0
    assert invested.excess.annual_return == -invested.held.annual_return
