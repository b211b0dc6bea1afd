from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from megatick_contract import LEVELS
from megatick_decisions.backtest import RiskBacktest, backtest_risk
from megatick_decisions.errors import ForecastError, HoldingsError, TooFewCloses
from megatick_decisions.scenarios import PastForecasts

Float64Array = npt.NDArray[np.float64]

STANDARD = stats.norm.ppf(LEVELS)


def past(
    returns: Float64Array, symbols: str, *, deviation: float | Float64Array = 0.01
) -> PastForecasts:
    """Forecasts of N(0, deviation²), of all or of shape (bars, symbols), and what came."""
    widths = np.broadcast_to(deviation, returns.shape)
    quantiles = widths[..., None] * STANDARD
    at = pd.date_range("2020-01-01", periods=len(returns), tz="UTC")
    return PastForecasts(tuple(symbols), at, quantiles, 2 * quantiles, returns)


def normal_returns(symbols: str, *, bars: int, seed: int = 0) -> Float64Array:
    """Log returns that are N(0, 0.01²), each independent of all others."""
    returns: Float64Array = np.random.default_rng(seed).normal(
        0, 0.01, (bars, len(symbols))
    )
    return returns


def backtest(
    values: dict[str, float], past: PastForecasts, *, bars: int = 1000
) -> RiskBacktest:
    return backtest_risk(pd.Series(values), past, bars=bars)


def test_one_symbol_by_hand() -> None:
    # 199 misses of every size from 1 to 199, in some order, of a width of 200; then three
    # bars: twice as wide, the same, and as wide again.
    rng = np.random.default_rng(0)
    moves = -np.concatenate([rng.permutation(np.arange(1.0, 200.0)), [300.0, 100.0, 5.0]])
    widths = np.concatenate([np.full(199, 200.0), [400.0, 200.0, 200.0]])
    found = backtest_risk(
        pd.Series({"A": 100.0}),
        past(moves[:, None] / 1e4, "A", deviation=widths[:, None] / 1e4),
        bars=100,
        scenarios=199,
    ).bars.iloc[-3:]

    profit = 100 * np.expm1(moves[-3:] / 1e4)
    np.testing.assert_allclose(found["profit"], profit)
    # The 190th of 199 stands for 95 %, the 198th for 99 %, at twice the width at first.
    # Then 300 of 400 come in as a miss of 150 of 200, and the first miss is too old to
    # count: both are smaller than the ten that are 190 or more.
    assert moves[0] > -190
    for row, (var_95, var_99) in enumerate([(380, 396), (190, 198)]):
        np.testing.assert_allclose(
            found.iloc[row, 1:], -100 * np.expm1([-var_95 / 1e4, -var_99 / 1e4])
        )


def test_a_right_forecast_passes_and_a_wrong_one_that_stays_wrong_does_too() -> None:
    returns = normal_returns("ABC", bars=950)
    values = {"A": 100.0, "B": -80.0, "C": 50.0}

    right = backtest(values, past(returns, "ABC"), bars=349)
    narrow = backtest(values, past(returns, "ABC", deviation=0.005), bars=349)

    # 349 bars: 17.5 are expected, with a standard error of 4.1.  Half the width is missed
    # by twice as much, at every bar alike.
    assert (right.var_95.bars, right.var_95.level) == (349, 0.95)
    assert (right.var_99.bars, right.var_99.level) == (349, 0.99)
    assert right.var_95.expected == pytest.approx(349 * 0.05)
    assert abs(right.var_95.observed - 17.45) < 3 * 4.1
    assert right.var_95.coverage.p_value > 0.05
    pd.testing.assert_frame_equal(narrow.bars, right.bars)


def test_a_forecast_that_turns_too_narrow_fails() -> None:
    returns = normal_returns("A", bars=950)
    deviation = np.where(np.arange(950)[:, None] < 600, 0.01, 0.005)

    found = backtest({"A": 100.0}, past(returns, "A", deviation=deviation), bars=100)

    # At half the width, P(z < -0.82) is 21 %; of 500 misses at most 50 are as large yet.
    exceeded = -found.bars["profit"] > found.bars["var_95"]
    assert found.var_95.observed == exceeded.sum()
    assert found.var_99.observed == (-found.bars["profit"] > found.bars["var_99"]).sum()
    assert (
        backtest(
            {"A": 100.0}, past(returns[:650], "A", deviation=deviation[:650]), bars=50
        ).var_95.coverage.p_value
        < 0.01
    )


def test_symbols_that_fell_together_are_taken_to_fall_together() -> None:
    one = normal_returns("A", bars=600)
    same = past(np.repeat(one, 2, axis=1), "AB")
    apart = past(np.concatenate([one, one[::-1]], axis=1), "AB")

    hedged = backtest({"A": 100.0, "B": -100.0}, same).bars
    doubled = backtest({"A": 100.0, "B": 100.0}, same).bars
    alone = backtest({"A": 100.0}, past(one, "A")).bars
    spread = backtest({"A": 100.0, "B": 100.0}, apart).bars

    np.testing.assert_allclose(hedged[["var_95", "var_99"]], 0, atol=1e-9)
    np.testing.assert_allclose(doubled["var_95"], 2 * alone["var_95"])
    assert (spread["var_95"] < 1.8 * alone["var_95"]).all()  # √2 if independent


def test_what_comes_later_changes_nothing_and_what_came_just_before_counts() -> None:
    returns = normal_returns("AB", bars=400)
    changed = returns.copy()
    changed[350] -= 0.2
    values = {"A": 100.0, "B": 100.0}

    before = backtest(values, past(returns, "AB")).bars.iloc[250:]  # from bar 350 on
    after = backtest(values, past(changed, "AB")).bars.iloc[250:]

    forecast = ["var_95", "var_99"]
    pd.testing.assert_frame_equal(before[forecast].iloc[:1], after[forecast].iloc[:1])
    assert before["profit"].iloc[0] != after["profit"].iloc[0]
    assert (before["var_99"].iloc[1:] < after["var_99"].iloc[1:]).all()


def test_misses_grow_too_old() -> None:
    returns = normal_returns("A", bars=700)
    returns[100] = -0.2

    bars = backtest({"A": 100.0}, past(returns, "A")).bars
    without = np.delete(returns, 100, axis=0)

    at = 500  # bar 600: the 500 before it begin with bar 100
    assert bars["var_99"].iloc[at] > bars["var_99"].iloc[at + 1]  # 500 bars later
    np.testing.assert_allclose(
        bars["var_99"].iloc[at + 1 :],
        backtest({"A": 100.0}, past(without, "A")).bars["var_99"].iloc[at:],
    )


def test_a_move_without_a_measure_is_judged_and_is_no_scenario() -> None:
    returns = normal_returns("A", bars=250)
    deviation = np.full((250, 1), 0.01)
    deviation[200] = 0.0  # it had stood still,
    returns[200] = -0.4  # and falls
    without = past(np.delete(returns, 200, axis=0), "A")

    found = backtest({"A": 100.0}, past(returns, "A", deviation=deviation))

    fall = found.bars.iloc[100]
    assert fall["profit"] == pytest.approx(100 * np.expm1(-0.4))
    assert (fall["var_95"], fall["var_99"]) == (0.0, 0.0)
    others = backtest({"A": 100.0}, without)
    np.testing.assert_array_equal(found.bars.drop(index=found.bars.index[100]), others.bars)
    assert found.var_99.observed == others.var_99.observed + 1


def test_a_holding_of_0_asks_for_nothing() -> None:
    found = past(normal_returns("AC", bars=200), "AC")

    with_b = backtest({"A": 10.0, "B": 0.0, "C": 5.0}, found).bars
    pd.testing.assert_frame_equal(with_b, backtest({"A": 10.0, "C": 5.0}, found).bars)


def test_each_bar_and_symbol_has_its_own_quantiles() -> None:
    deviation = np.full((222, 2), 0.01)
    deviation[220:] = [[0.02, 1e-6], [1e-6, 0.04]]
    returns = normal_returns("AB", bars=222)
    returns[220] = 0.0
    values = {"A": 100.0, "B": 100.0}

    found = backtest(values, past(returns, "AB", deviation=deviation)).bars["var_95"]

    scores = returns[:220] / 0.01
    expected = [
        np.quantile(-100 * np.expm1(wide), 0.95, method="weibull")
        for wide in (0.02 * scores[:, 0], 0.04 * np.append(scores[:, 1], 0.0))
    ]
    np.testing.assert_allclose(found.iloc[-2:], expected, rtol=1e-3)


def test_100_go_before_and_at_least_20_are_judged() -> None:
    returns = normal_returns("A", bars=120)

    assert len(backtest({"A": 1.0}, past(returns, "A")).bars) == 20
    assert backtest({"A": 1.0}, past(returns, "A")).bars.index[0] == pd.Timestamp(
        "2020-04-10", tz="UTC"
    )  # 100 days after 1 January
    with pytest.raises(
        TooFewCloses, match="at least 20 with 100 forecasts before, found 19"
    ):
        backtest({"A": 1.0}, past(returns[1:], "A"))
    with pytest.raises(TooFewCloses, match="found 19"):
        backtest({"A": 1.0}, past(normal_returns("A", bars=300), "A"), bars=19)


def test_quantiles_that_cross_are_refused_with_their_bar() -> None:
    found = past(normal_returns("A", bars=200), "A")
    found.quantiles[1, 0] *= -1

    with pytest.raises(ForecastError, match=r"of 2020-01-02 .*, A: .* never cross"):
        backtest({"A": 1.0}, found)


def test_nothing_held_is_refused() -> None:
    with pytest.raises(HoldingsError, match="a value that is not 0"):
        backtest({"A": 0.0}, past(normal_returns("A", bars=200), "A"))
