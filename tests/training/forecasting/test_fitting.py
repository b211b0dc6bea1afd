"""A forecaster fitted on simulated markets whose truth is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from megatick_training.errors import TooLittleHistory
from megatick_training.forecasting import Fitted, fit_forecaster, make_periods, make_windows
from megatick_training.forecasting.candidates import RANDOM_WALK, Candidate
from megatick_training.forecasting.choice import Trial, choose
from megatick_training.forecasting.page import sections


def gaussian_walk(bars: int, symbols: int) -> pd.DataFrame:
    """Prices without anything to be learnt."""
    steps = np.random.default_rng(0).normal(0, 0.01, (bars, symbols))
    return as_closes(steps)


def reverting(bars: int, symbols: int) -> pd.DataFrame:
    """Prices whose volatility jumps daily around 1 %: recent moves say nothing of it."""
    random = np.random.default_rng(1)
    volatility = 0.01 * np.exp(random.normal(0, 1, (bars, symbols)))
    return as_closes(volatility * random.normal(size=(bars, symbols)))


def as_closes(steps: np.ndarray) -> pd.DataFrame:
    index = pd.date_range("2000-01-03", periods=len(steps), freq="B", tz="UTC")
    names = [f"S{number}" for number in range(steps.shape[1])]
    return pd.DataFrame(100 * np.exp(np.cumsum(steps, axis=0)), index=index, columns=names)


def fitted_on(closes: pd.DataFrame) -> Fitted:
    windows = make_windows(closes, news=None, half_life_s=1)
    periods = make_periods(
        windows, train_until=None, calibrate_until=None, hold_out_symbols=0.25, seed=0
    )
    return fit_forecaster(windows, periods, source="simulated")


@pytest.fixture(scope="module")
def walk() -> Fitted:
    return fitted_on(gaussian_walk(1600, 4))


@pytest.fixture(scope="module")
def jumpy() -> Fitted:
    return fitted_on(reverting(1600, 4))


def test_on_a_gaussian_walk_intervals_cover_what_they_say(walk: Fitted) -> None:
    # One bar ahead, about 300 later moves of the symbol never seen and 900 of the
    # others: a standard error of 1 to 2 points.  Blocks widen the intervals by as much.
    one_bar = [each for each in walk.judged if each.horizon_bars == 1]

    for each in one_bar:
        for coverage in each.coverage:
            assert coverage.overall == pytest.approx(coverage.nominal, abs=0.06)
    # The baseline is symmetric; the normal's 0.95 quantile is 1.645, and a volatility
    # that is itself estimated from about 17 returns makes the standard move wider.
    baseline = walk.forecaster.baseline_quantiles[0]
    assert baseline[0] == -baseline[-1]
    assert 1.645 < baseline[-1] < 2.0


def test_what_can_be_learnt_is_found_and_has_an_edge(jumpy: Fitted) -> None:
    # A large volatility of late is chance here, so the forecast must lean against it.
    model = jumpy.forecaster
    assert model.edge[0]
    assert model.edge_p_value[0] < 0.01
    assert jumpy.judged[0].moves_of == "symbols never seen"
    assert jumpy.judged[0].skill > 0.02


def test_what_is_judged_does_not_move_the_fit() -> None:
    closes = reverting(1000, 4)
    windows = make_windows(closes, news=None, half_life_s=1)
    periods = make_periods(
        windows, train_until=None, calibrate_until=None, hold_out_symbols=0.25, seed=0
    )
    shaken = closes.copy()
    later = shaken.index.tz_localize(None) >= periods.judge_from
    shaken.loc[later] *= np.linspace(1, 40, later.sum())[:, None]
    for symbol in periods.held_out:
        shaken[symbol] = closes[symbol].iloc[::-1].to_numpy()

    fits = [
        fit_forecaster(make_windows(table, news=None, half_life_s=1), periods, source="s")
        for table in (closes, shaken)
    ]

    numbers = [fit.forecaster.model_dump(exclude={"edge", "edge_p_value"}) for fit in fits]
    assert numbers[0] == numbers[1]
    assert fits[0].judged[0].loss != fits[1].judged[0].loss


def test_too_few_bars_are_refused() -> None:
    with pytest.raises(TooLittleHistory, match="a walk-forward fold has"):
        fitted_on(gaussian_walk(200, 4))


def test_the_simplest_candidate_wins_that_is_as_good_as_the_best_up_to_chance() -> None:
    def trial(name: str, *losses: float) -> Trial:
        none = np.empty(0)
        times = none.astype("datetime64[ns]")
        return Trial(Candidate(name), np.array(losses), noise=none, at=times)

    walk = replace(trial("", 10, 10, 10, 10), candidate=RANDOM_WALK)
    # Saves 1 in each fold: no chance about it.
    better = trial("better", 9, 9, 9, 9)
    # Differences to "better" of 0.4, -0.2, 0.4, -0.4: 0.05 ± 0.21.
    best = trial("best by luck", 8.6, 9.2, 8.6, 9.4)

    assert choose([walk, better, best]) is better


def test_the_report_says_what_came_of_it(walk: Fitted) -> None:
    parts = {part.title: part for part in sections(walk)}

    summary = parts["What came of it"].text
    assert "1 bars: it does not beat the random walk" in summary
    assert f"Symbols never seen: {', '.join(walk.periods.held_out)}" in summary
    candidates = parts["Candidates"].table
    assert candidates is not None
    assert candidates["1 bars"].str.contains(r"\*").sum() == 1
