from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from megatick_contract import LEVELS
from megatick_decisions.backtest import RiskBacktest, backtest_risk
from megatick_decisions.errors import ForecastError, HoldingsError, TooFewCloses

Float64Array = npt.NDArray[np.float64]

STANDARD = stats.norm.ppf(LEVELS)


def normal_closes(symbols: str, *, rows: int, seed: int = 0) -> pd.DataFrame:
    """Closes whose log returns are N(0, 0.01²), each independent of all others."""
    index = pd.date_range("2022-01-01", periods=rows, freq="D", tz="UTC", name="time")
    moves = np.random.default_rng(seed).normal(0, 0.01, (rows, len(symbols)))
    return pd.DataFrame(
        100 * np.exp(moves.cumsum(axis=0)), index=index, columns=list(symbols)
    )


def backtest(
    values: dict[str, float],
    closes: pd.DataFrame,
    at: pd.DatetimeIndex,
    *,
    deviation: float = 0.01,
    draws: int = 2_000,
) -> RiskBacktest:
    shape = (len(at), len(values), 1)
    return backtest_risk(
        pd.Series(values),
        closes,
        at=at,
        quantiles=np.full(shape, deviation) * STANDARD,
        draws=draws,
    )


def times(closes: pd.DataFrame, first: int, last: int) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(closes.index[first:last])


def test_one_symbol_by_hand() -> None:
    closes = normal_closes("A", rows=400)
    at = times(closes, 200, 399)

    found = backtest({"A": 100.0}, closes, at, draws=100_000)

    profit = (100 * (closes["A"].shift(-1) / closes["A"] - 1)).loc[at]
    pd.testing.assert_series_equal(found.bars["profit"], profit, check_names=False)
    threshold = 100 * (1 - np.exp(-0.01 * 1.6448536))
    np.testing.assert_allclose(found.bars["var_95"], threshold, rtol=0.015)
    np.testing.assert_allclose(
        found.bars["var_99"], 100 * (1 - np.exp(-0.01 * 2.3263479)), rtol=0.02
    )
    exceeded = -profit > found.bars["var_95"]
    assert found.var_95.observed == exceeded.sum() > 0
    assert (found.var_95.bars, found.var_95.level) == (199, 0.95)
    assert found.var_95.expected == pytest.approx(199 * 0.05)
    assert found.var_99.level == 0.99
    assert found.var_99.observed == (-profit > found.bars["var_99"]).sum()


def test_a_right_forecast_passes_and_a_narrow_one_does_not() -> None:
    closes = normal_closes("ABC", rows=600)
    values = {"A": 100.0, "B": -80.0, "C": 50.0}
    at = times(closes, 250, 599)

    right = backtest(values, closes, at)
    narrow = backtest(values, closes, at, deviation=0.005)

    # 349 bars: 17.5 are expected, with a standard error of 4.1.
    assert abs(right.var_95.observed - 17.45) < 3 * 4.1
    assert right.var_95.coverage.p_value > 0.05
    assert narrow.var_95.observed > 60  # at half the width, P(z < -0.82) is 21 %
    assert narrow.var_95.coverage.p_value < 1e-6


def test_the_correlation_is_seen() -> None:
    closes = normal_closes("AB", rows=400)
    closes["B"] = 3 * closes["A"]
    at = times(closes, 300, 310)

    hedged = backtest({"A": 100.0, "B": -100.0}, closes, at)
    doubled = backtest({"A": 100.0, "B": 100.0}, closes, at)

    # Shrinkage by about 1 % leaves the hedge a deviation of 0.01·100·√0.02 = 0.14.
    assert (hedged.bars["var_95"] < 0.14 * 1.645 * 1.5).all()
    np.testing.assert_allclose(doubled.bars["var_95"], 200 * 0.0163, rtol=0.05)


def dependent_closes(rows: int) -> pd.DataFrame:
    """Closes of A and B whose correlation is 0.7."""
    closes = normal_closes("AB", rows=rows)
    closes["B"] *= closes["A"]
    return closes


def test_later_closes_change_nothing() -> None:
    closes = dependent_closes(rows=400)
    at = times(closes, 300, 390)
    values = {"A": 100.0, "B": 100.0}
    changed = closes.copy()
    moves = np.random.default_rng(9).normal(0, 0.01, 49).cumsum()
    changed.iloc[351:, 1] *= np.exp(moves)  # B goes its own way now

    before, after = backtest(values, closes, at), backtest(values, changed, at)

    forecast = ["var_95", "var_99"]
    # Bar 350 is forecast at a close that has not changed; what follows it has.
    pd.testing.assert_frame_equal(
        before.bars[forecast].iloc[:51], after.bars[forecast].iloc[:51]
    )
    assert before.bars["profit"].iloc[50] != after.bars["profit"].iloc[50]
    assert (before.bars["var_95"].iloc[51:] != after.bars["var_95"].iloc[51:]).all()


def test_the_latest_close_is_known() -> None:
    closes = dependent_closes(rows=400)
    changed = closes.copy()
    changed.iloc[350:351, 0] *= 1.02

    at = times(closes, 350, 352)
    values = {"A": 100.0, "B": 100.0}
    before, after = backtest(values, closes, at), backtest(values, changed, at)

    assert before.bars["var_95"].iloc[0] != after.bars["var_95"].iloc[0]


def test_a_profit_is_to_each_symbols_own_next_close() -> None:
    closes = normal_closes("AB", rows=100)
    closes.iloc[81, 1] = np.nan  # B's holiday
    at = pd.DatetimeIndex(closes.index[[79, 80, 82, 83]])

    found = backtest({"A": 10.0, "B": 10.0}, closes, at).bars["profit"]

    a, b = closes["A"].to_numpy(), closes["B"].to_numpy()
    expected = 10 * (a[81] / a[80] - 1) + 10 * (b[82] / b[80] - 1)
    assert found.iloc[1] == pytest.approx(expected)


def test_a_holding_of_0_asks_for_nothing() -> None:
    closes = normal_closes("ABC", rows=200)
    closes["B"] = np.nan
    at = times(closes, 100, 103)
    deviations = np.array([0.01, 0.05, 0.02])

    def bars(values: dict[str, float], seen: list[int]) -> pd.DataFrame:
        quantiles = np.tile(deviations[seen, None] * STANDARD, (len(at), 1, 1))
        return backtest_risk(
            pd.Series(values), closes, at=at, quantiles=quantiles, draws=1000
        ).bars

    with_b = bars({"A": 10.0, "B": 0.0, "C": 5.0}, [0, 1, 2])
    pd.testing.assert_frame_equal(with_b, bars({"A": 10.0, "C": 5.0}, [0, 2]))


def test_students_quantiles_have_students_risk() -> None:
    closes = normal_closes("A", rows=200)

    found = backtest_risk(
        pd.Series({"A": 100.0}),
        closes,
        at=times(closes, 100, 102),
        quantiles=np.tile(0.01 * stats.t.ppf(LEVELS, 4), (2, 1, 1)),
        degrees_of_freedom=4.0,
        draws=200_000,
    )

    expected = 100 * (1 - np.exp(0.01 * stats.t.ppf(0.01, 4)))
    np.testing.assert_allclose(found.bars["var_99"], expected, rtol=0.02)


def test_the_seed_makes_the_draws() -> None:
    closes = normal_closes("A", rows=200)
    at = times(closes, 100, 102)

    def var(seed: int) -> float:
        found = backtest_risk(
            pd.Series({"A": 1.0}),
            closes,
            at=at,
            quantiles=np.tile(STANDARD, (2, 1, 1)),
            draws=1000,
            seed=seed,
        )
        return float(found.bars["var_95"].iloc[0])

    assert var(1) == var(1) != var(2)


def test_each_bar_and_symbol_has_its_own_quantiles() -> None:
    closes = normal_closes("AB", rows=200)
    at = times(closes, 100, 102)
    deviations = np.array([[0.01, 1e-6], [1e-6, 0.03]])

    found = backtest_risk(
        pd.Series({"A": 100.0, "B": 100.0}),
        closes,
        at=at,
        quantiles=deviations[..., None] * STANDARD,
        draws=100_000,
    )

    np.testing.assert_allclose(
        found.bars["var_95"], 100 * (1 - np.exp(-1.6448536 * np.array([0.01, 0.03]))), 0.02
    )


@pytest.mark.parametrize(
    ("at", "message"),
    [
        pytest.param([80, 81], "not all at 2022-03-23", id="B-has-a-holiday"),
        pytest.param([98, 99], "none of A after 2022-04-10", id="nothing-followed"),
        pytest.param([90, 89], "times that rise", id="backwards"),
        pytest.param([90, 90], "times that rise", id="twice"),
    ],
)
def test_bars_that_cannot_be_forecast(at: list[int], message: str) -> None:
    closes = normal_closes("AB", rows=100)
    closes.iloc[81, 1] = np.nan

    with pytest.raises(ForecastError, match=message):
        backtest({"A": 1.0, "B": 1.0}, closes, pd.DatetimeIndex(closes.index[at]))


def test_quantiles_that_cross_are_refused_with_their_bar() -> None:
    closes = normal_closes("A", rows=200)
    quantiles = np.tile(STANDARD, (2, 1, 1))
    quantiles[1, 0] *= -1

    with pytest.raises(ForecastError, match=r"of 2022-04-12 .*, A: .* never cross"):
        backtest_risk(
            pd.Series({"A": 1.0}), closes, at=times(closes, 100, 102), quantiles=quantiles
        )


def test_too_short_a_past_is_refused() -> None:
    closes = normal_closes("A", rows=200)

    with pytest.raises(TooFewCloses, match="at least 61, found 60"):
        backtest({"A": 1.0}, closes, times(closes, 59, 62))


def test_nothing_held_is_refused() -> None:
    closes = normal_closes("A", rows=200)

    with pytest.raises(HoldingsError, match="a value that is not 0"):
        backtest({"A": 0.0}, closes, times(closes, 100, 102))
