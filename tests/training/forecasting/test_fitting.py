"""A forecaster fitted on a simulated market, in which nothing can be known."""

from __future__ import annotations

from dataclasses import replace
from datetime import date

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from megatick_training.errors import TooLittleHistory
from megatick_training.evaluation.diebold_mariano import DieboldMariano, diebold_mariano
from megatick_training.forecasting import (
    Fitted,
    fit_forecaster,
    judgement,
    make_periods,
    make_windows,
)
from megatick_training.forecasting.candidates import RANDOM_WALK, Candidate
from megatick_training.forecasting.choice import Trial, choose
from megatick_training.forecasting.page import sections
from megatick_training.forecasting.sample import make_sample

Float64Array = npt.NDArray[np.float64]


def gaussian_walk(bars: int, symbols: int) -> pd.DataFrame:
    """Prices without anything to be learnt."""
    steps = np.random.default_rng(0).normal(0, 0.01, (bars, symbols))
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


def test_on_a_gaussian_walk_intervals_cover_what_they_say(walk: Fitted) -> None:
    # The moves to calibrate on are cut into 20 stretches, and the one to come is taken as
    # the worst: 21/20 of what is said is covered.  About 300 later moves of the symbol
    # never seen leave a standard error of up to 3 points.
    for each in walk.judged:
        if each.horizon_bars == 1:
            for coverage in each.coverage:
                expected = coverage.nominal * 21 / 20
                assert coverage.overall == pytest.approx(expected, abs=0.06)
    # The baseline is symmetric; the normal's 0.95 quantile is 1.645, and a volatility
    # that is itself estimated from about 17 returns makes the standard move wider.
    baseline = walk.forecaster.baseline_quantiles[0]
    assert baseline[0] == -baseline[-1]
    assert 1.645 < baseline[-1] < 2.0


def test_moves_overlap_over_more_dates_where_exchanges_close_at_other_hours(
    walk: Fitted, monkeypatch: pytest.MonkeyPatch
) -> None:
    closes = gaussian_walk(1600, 4)
    other = closes.add_prefix("other ").shift(freq=pd.Timedelta(hours=9))
    table = closes.join(other, how="outer")
    sample = make_sample(make_windows(table, news=None, half_life_s=1), half_life_s=1)
    spanned = []

    def test(*losses: Float64Array, horizon: int) -> DieboldMariano:
        spanned.append(horizon)
        return diebold_mariano(*losses, horizon=horizon)

    monkeypatch.setattr(judgement, "diebold_mariano", test)
    judgement.judge(
        walk.forecaster, sample, replace(walk.periods, held_out=frozenset({"S0"}))
    )

    # Of S0 alone, of all others, and of all.
    assert spanned == [1, 5, 20, 2, 10, 40, 2, 10, 40]


@pytest.mark.parametrize(
    ("loss", "p_value", "edge"),
    [
        pytest.param(0.9, 0.05, True, id="smaller-and-not-by-luck"),
        pytest.param(0.9, 0.051, False, id="perhaps-by-luck"),
        pytest.param(1.0, 0.01, False, id="not-smaller"),
    ],
)
def test_an_edge_needs_a_smaller_loss_and_a_small_p(
    walk: Fitted, loss: float, p_value: float, edge: bool
) -> None:
    test = DieboldMariano(statistic=-2.0, p_value=p_value, mean_difference=-0.1)

    assert replace(walk.judged[0], loss=loss, baseline_loss=1.0, test=test).edge is edge


def test_the_artefact_tells_the_verdict_on_the_symbols_never_seen(walk: Fitted) -> None:
    strictest = [each for each in walk.judged if each.moves_of == "symbols never seen"]

    assert walk.forecaster.edge == tuple(each.edge for each in strictest)
    assert walk.forecaster.edge_p_value == tuple(each.test.p_value for each in strictest)


def test_what_is_judged_does_not_move_the_fit() -> None:
    closes = gaussian_walk(1000, 4)
    windows = make_windows(closes, news=None, half_life_s=1)
    periods = make_periods(
        windows, train_until=None, calibrate_until=None, hold_out_symbols=0.25, seed=0
    )
    shaken = closes.copy()
    later = pd.DatetimeIndex(shaken.index).tz_localize(None) >= periods.judge_from
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


def test_bars_of_hours_are_fitted_until_the_day_that_was_calibrated_on() -> None:
    closes = gaussian_walk(1000, 4)
    closes.index = pd.date_range("2020-01-01", periods=1000, freq="h", tz="UTC")

    fitted = fitted_on(closes)

    # Forecasts from bar 63 to 998; at 80 %, bar 63 + 748 = 811, begins what is judged:
    # 19:00 on 3 February.  What was calibrated on ended at 18:00 of that day.
    assert fitted.periods.judge_from == pd.Timestamp("2020-02-03T19:00")
    assert fitted.forecaster.fitted_until == date(2020, 2, 3)


def test_a_bar_lasts_from_a_symbols_close_to_its_next() -> None:
    closes = gaussian_walk(900, 4)
    tokyo, new_york = (
        closes[names].set_axis(closes.index + pd.Timedelta(hours=hours))
        for names, hours in ((["S0", "S1"], 6), (["S2", "S3"], 21))
    )

    fitted = fitted_on(pd.concat([tokyo, new_york]).sort_index())

    assert fitted.forecaster.bar_s == 86_400  # and not the 9 or 15 hours between the two


def test_what_is_forced_is_fitted_and_nobody_takes_it_for_chosen(walk: Fitted) -> None:
    # What the EWMA says of a walk of constant volatility is noise, and is scaled away.
    windows = make_windows(gaussian_walk(1600, 4), news=None, half_life_s=1)

    fitted = fit_forecaster(
        windows, walk.periods, source="simulated", forced={5: RANDOM_WALK}
    )

    names = [trial.candidate.name for trial in fitted.chosen]
    assert names == [trial.candidate.name for trial in walk.taken]
    assert names == ["scale: volatility"] * 3
    taken = [trial.candidate.name for trial in fitted.taken]
    assert taken == ["scale: volatility", "random walk", "scale: volatility"]
    leaning = np.array(fitted.forecaster.log_scale)[:, 0] != 0
    assert leaning.tolist() == [True, False, True]
    # The random walk's quantiles are of its own folds, as the baseline's are.
    quantiles, baseline = (
        np.array(each)
        for each in (fitted.forecaster.quantiles, fitted.forecaster.baseline_quantiles)
    )
    np.testing.assert_allclose(quantiles[1], baseline[1], rtol=1e-12)
    assert fitted.forecaster.quantiles[2] == walk.forecaster.quantiles[2]
    assert not fitted.forecaster.edge[1]
    told = "; forced and not chosen: 'random walk' at 5 bars"
    assert fitted.forecaster.fitted_on == walk.forecaster.fitted_on + told
    parts = {part.title: part for part in sections(fitted)}
    assert (
        "5 bars: 'random walk' was forced and not chosen; walking forward chose "
        "'scale: volatility'." in parts["What came of it"].text
    )
    candidates = parts["Candidates"].table
    assert candidates is not None
    marks = {
        bars: [
            f"{name}: {cell.partition('% ')[2]}"
            for name, cell in zip(candidates["candidate"], candidates[bars], strict=True)
            if not cell.endswith("%")
        ]
        for bars in ("1 bars", "5 bars", "20 bars")
    }
    assert marks == {
        "1 bars": ["scale: volatility: *"],
        "5 bars": ["random walk: forced", "scale: volatility: *"],
        "20 bars": ["scale: volatility: *"],
    }


def test_too_few_bars_are_refused() -> None:
    with pytest.raises(TooLittleHistory, match="a walk-forward fold has"):
        fitted_on(gaussian_walk(200, 4))


def test_the_simplest_candidate_wins_that_is_as_good_as_the_best_up_to_chance() -> None:
    def trial(name: str, *losses: float) -> Trial:
        none = np.empty(0)
        times = none.astype("datetime64[ns]")
        return Trial(Candidate(name), np.array(losses), none, at=times, until=times)

    walk = replace(trial("", 10, 10, 10, 10), candidate=RANDOM_WALK)
    # Saves 1 in each fold: no chance about it.
    better = trial("better", 9, 9, 9, 9)
    # Differences to "better" of 0.4, -0.2, 0.4, -0.4: 0.05 ± 0.21.
    best = trial("best by luck", 8.6, 9.2, 8.6, 9.4)

    assert choose([walk, better, best]) is better


def test_the_report_says_what_came_of_it(walk: Fitted) -> None:
    parts = {part.title: part for part in sections(walk)}

    summary = parts["What came of it"].text
    verdict = "beats" if walk.judged[0].edge else "does not beat"
    assert f"1 bars: it {verdict} the random walk" in summary
    assert f"Symbols never seen: {', '.join(walk.periods.held_out)}" in summary
    candidates = parts["Candidates"].table
    assert candidates is not None
    assert candidates["1 bars"].str.contains(r"\*").sum() == 1
