from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from megatick_contract import LEVELS
from megatick_decisions.errors import ForecastError, HoldingsError
from megatick_decisions.losses import measure
from megatick_decisions.risk import PortfolioRisk, portfolio_risk
from megatick_decisions.scenarios import PastForecasts

Float64Array = npt.NDArray[np.float64]

STANDARD = stats.norm.ppf(LEVELS)
SHORTFALL = stats.norm.pdf(stats.norm.ppf(0.025)) / 0.025  # 2.3378, of a standard normal
EVENLY = stats.norm.ppf((np.arange(20_000) + 0.5) / 20_000)[:, None]
"""Of one symbol, misses that are as good as a standard normal's."""


def normal(*deviations: float) -> Float64Array:
    """Quantiles of symbols with these deviations at one horizon."""
    quantiles: Float64Array = np.array(deviations)[:, None, None] * STANDARD
    return quantiles


def random_closes(symbols: str, *, rows: int = 300, seed: int = 0) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=rows, freq="D", tz="UTC", name="time")
    moves = np.random.default_rng(seed).normal(0, 0.01, (rows, len(symbols)))
    return pd.DataFrame(
        100 * np.exp(moves.cumsum(axis=0)), index=index, columns=list(symbols)
    )


def missed(scores: Float64Array, symbols: str) -> PastForecasts:
    """Forecasts of N(0, 1) at as many bars, missed by these scores (bars, symbols).

    Those of the random walk are twice as wide, so that it was missed by half.
    """
    quantiles: Float64Array = np.tile(STANDARD, (*scores.shape, 1)).astype(np.float64)
    at = pd.date_range("2000-01-01", periods=len(scores), freq="h", tz="UTC")
    return PastForecasts(tuple(symbols), at, quantiles, 2 * quantiles, scores)


def independent(symbols: str, *, bars: int = 20_000, seed: int = 0) -> Float64Array:
    scores: Float64Array = np.random.default_rng(seed).standard_normal((bars, len(symbols)))
    return scores


def risk_of(
    values: dict[str, float],
    quantiles: Float64Array,
    *,
    scores: Float64Array,
    closes: pd.DataFrame | None = None,
) -> PortfolioRisk:
    symbols = "".join(values)
    return portfolio_risk(
        pd.Series(values),
        random_closes(symbols) if closes is None else closes,
        missed(scores, symbols),
        quantiles=quantiles,
        baseline_quantiles=4 * quantiles,
        horizons_bars=(1,),
        scenarios=len(scores),
    )


def test_one_symbol_with_normal_quantiles_has_the_normals_risk() -> None:
    found = risk_of({"A": 1000.0}, normal(0.02), scores=EVENLY).horizons[0]

    # Of a log return N(0, s²): v·(1 - e^(s·z)) at z = Φ⁻¹(0.05), and the mean loss below
    # z = Φ⁻¹(0.025), v·(1 - e^(s²/2)·Φ(z - s)/0.025).
    figures = found.forecast.measures
    assert figures.var_95 == pytest.approx(1000 * (1 - math.exp(-0.02 * 1.6448536)), 0.001)
    assert figures.var_99 == pytest.approx(1000 * (1 - math.exp(-0.02 * 2.3263479)), 0.001)
    beyond = stats.norm.cdf(stats.norm.ppf(0.025) - 0.02) / 0.025
    shortfall = 1000 * (1 - math.exp(0.0002) * beyond)
    assert figures.es_975 == pytest.approx(shortfall, 0.001)
    assert figures.mean == pytest.approx(1000 * math.expm1(0.0002), abs=0.01)
    assert found.forecast.components["A"] == pytest.approx(figures.es_975)
    assert found.forecast.stand_alone["A"] == pytest.approx(figures.es_975)
    assert found.forecast.diversification == pytest.approx(1)
    lower, upper = found.forecast.var_95_interval
    assert lower <= figures.var_95 <= upper <= lower * 1.05
    lower, upper = found.forecast.var_99_interval
    assert lower <= figures.var_99 <= upper <= lower * 1.06


def test_the_baseline_is_measured_by_its_own_quantiles_and_its_own_misses() -> None:
    found = risk_of({"A": 1000.0}, normal(0.02), scores=EVENLY).horizons[0]

    # Four times as wide, and missed by half as much: the log of what is left is twice it.
    forecast, baseline = found.forecast.measures, found.baseline.measures
    assert 1 - baseline.var_95 / 1000 == pytest.approx((1 - forecast.var_95 / 1000) ** 2)


def test_a_scenario_is_what_befell_all_at_once_at_todays_width_and_place() -> None:
    # Of ±0.01 and 0.01 ± 0.02, A and B came 1 and -1, then -3 and 2 of these widths away.
    past = PastForecasts(
        symbols=("A", "B"),
        at=pd.date_range("2020-01-01", periods=100, tz="UTC"),
        quantiles=np.array([[[-0.01, 0.01], [-0.01, 0.03]]] * 100),
        baseline_quantiles=np.array([[[-1.0, 1.0]] * 2] * 100),
        returns=np.array([[0.01, -0.01], [-0.03, 0.05]] * 50),
    )
    now = np.array([[[-0.03, 0.05]], [[-0.05, 0.05]]])  # 0.01 ± 0.04, ±0.05

    found = portfolio_risk(
        pd.Series({"A": 100.0, "B": 10.0}),
        random_closes("AB"),
        past,
        quantiles=now,
        baseline_quantiles=now,
        horizons_bars=(1,),
        levels=(0.1, 0.9),
    )

    first = 100 * math.expm1(0.05) + 10 * math.expm1(-0.05)
    second = 100 * math.expm1(0.01 - 0.12) + 10 * math.expm1(0.10)
    figures = found.horizons[0].forecast
    assert figures.measures.mean == pytest.approx((first + second) / 2)
    assert figures.measures.es_975 == pytest.approx(-second)
    assert figures.components.tolist() == pytest.approx(
        [-100 * math.expm1(-0.11), -10 * math.expm1(0.10)]
    )
    assert found.scenarios_at.equals(past.at)


def test_the_latest_are_taken() -> None:
    scores = np.concatenate([np.full((300, 1), -9.0), np.tile([[-1.0], [1.0]], (250, 1))])

    found = portfolio_risk(
        pd.Series({"A": 1.0}),
        random_closes("A"),
        missed(scores, "A"),
        quantiles=normal(0.01),
        baseline_quantiles=normal(0.01),
        horizons_bars=(1,),
    )

    assert len(found.scenarios_at) == 500
    assert found.scenarios_at[-1] == missed(scores, "A").at[-1]
    only = found.horizons[0]
    assert only.forecast.measures.es_975 == pytest.approx(-math.expm1(-0.01))
    assert only.baseline.measures.es_975 == pytest.approx(-math.expm1(-0.005))


def test_a_move_without_a_measure_is_no_scenario() -> None:
    past = missed(np.tile([[-1.0], [1.0]], (51, 1)), "A")
    past.quantiles[99] = 0.0  # it had stood still, and rises

    found = portfolio_risk(
        pd.Series({"A": 1.0}),
        random_closes("A"),
        past,
        quantiles=normal(0.01),
        baseline_quantiles=normal(0.01),
        horizons_bars=(1,),
        scenarios=100,
    )

    assert found.scenarios_at.equals(past.at.delete(99)[-100:])
    assert found.horizons[0].forecast.measures.mean == pytest.approx(
        (math.expm1(-0.01) + math.expm1(0.01)) / 2
    )


def test_a_short_holding_loses_in_the_upper_tail() -> None:
    skewed = np.array([[[-0.02, -0.015, -0.01, 0.0, 0.02, 0.05, 0.08]]])

    long = risk_of({"A": 500.0}, skewed, scores=EVENLY).horizons[0].forecast.measures
    short = risk_of({"A": -500.0}, skewed, scores=EVENLY).horizons[0].forecast.measures

    assert long.var_95 == pytest.approx(500 * (1 - math.exp(-0.02)), rel=0.01)
    assert short.var_95 == pytest.approx(500 * (math.exp(0.08) - 1), rel=0.01)
    assert short.mean == pytest.approx(-long.mean)


def test_two_that_move_as_one_add_up() -> None:
    same = np.repeat(EVENLY, 2, axis=1)

    risk = risk_of({"A": 300.0, "B": 100.0}, normal(0.01, 0.03), scores=same)
    found = risk.horizons[0].forecast

    assert found.measures.es_975 == pytest.approx(found.stand_alone.sum())
    assert found.diversification == pytest.approx(1)
    np.testing.assert_allclose(found.components, found.stand_alone)


def test_a_hedge_takes_away() -> None:
    same = np.repeat(EVENLY, 2, axis=1)

    risk = risk_of({"A": 300.0, "B": -100.0}, normal(0.01, 0.01), scores=same)
    found = risk.horizons[0].forecast

    # 200 are left to lose; e^r - 1 is r up to about 1 % for moves of 2 %.
    assert found.measures.es_975 == pytest.approx(200 * 0.01 * SHORTFALL, rel=0.02)
    assert found.components["A"] == pytest.approx(found.stand_alone["A"])
    assert found.components["B"] == pytest.approx(-found.components["A"] / 3)
    assert found.measures.es_975 == pytest.approx(found.components.sum())


def test_two_that_are_independent_add_up_in_squares() -> None:
    scores = independent("AB", bars=200_000)

    risk = risk_of({"A": 30.0, "B": 40.0}, normal(0.01, 0.01), scores=scores)
    found = risk.horizons[0].forecast

    # Returns this small are as good as normal, so P&L is N(0, (0.01·50)²) up to s²/2 = 5e-5
    # of the value; by Euler a part of each's variance, 9/25 and 16/25.
    whole = 0.5 * SHORTFALL
    assert found.measures.var_95 == pytest.approx(0.5 * 1.6448536, rel=0.015)
    assert found.measures.es_975 == pytest.approx(whole, rel=0.015)
    assert found.components["A"] == pytest.approx(whole * 9 / 25, rel=0.03)
    assert found.components["B"] == pytest.approx(whole * 16 / 25, rel=0.03)
    assert found.diversification == pytest.approx(50 / 70, rel=0.015)


def test_components_add_up_and_nothing_is_worse_than_alone() -> None:
    rng = np.random.default_rng(3)
    quantiles = np.sort(rng.normal(0, 0.04, (5, 1, 7)), axis=-1)
    values = dict(zip("ABCDE", [100.0, -50.0, 20.0, 70.0, -10.0], strict=True))

    scores = independent("ABCDE", bars=9_998)
    found = risk_of(values, quantiles, scores=scores).horizons[0]

    for each in (found.forecast, found.baseline):
        assert each.components.sum() == pytest.approx(each.measures.es_975)
        assert list(each.components.index) == list("ABCDE")
        assert each.diversification == pytest.approx(
            each.measures.es_975 / each.stand_alone.sum()
        )
        assert each.diversification < 1
        assert (each.components <= each.stand_alone + 1e-9).all()


def test_each_horizon_has_its_own_quantiles() -> None:
    quantiles = np.concatenate([normal(0.01), normal(0.03)], axis=1)

    found = portfolio_risk(
        pd.Series({"A": 1.0}),
        random_closes("A"),
        missed(EVENLY, "A"),
        quantiles=quantiles.astype(np.float32),
        baseline_quantiles=quantiles,
        horizons_bars=(1, 9),
    )

    first, second = found.horizons
    assert (first.horizon_bars, second.horizon_bars) == (1, 9)
    # From the same misses, the log of what is left falls in proportion.
    left = [math.log(1 - each.forecast.measures.var_95) for each in found.horizons]
    assert left[1] / left[0] == pytest.approx(3, rel=1e-5)


def test_the_past_of_the_same_holdings() -> None:
    closes = random_closes("AB", rows=700)
    closes.iloc[650, 0] = np.nan
    quantiles = np.repeat(normal(0.01, 0.01), 2, axis=1)

    found = portfolio_risk(
        pd.Series({"A": 100.0, "B": -40.0}),
        closes,
        missed(independent("AB"), "AB"),
        quantiles=quantiles,
        baseline_quantiles=quantiles,
        horizons_bars=(1, 5),
    )

    there = closes.drop(closes.index[650])
    for bars, each in zip((1, 5), found.horizons, strict=True):
        earned = (there / there.shift(bars) - 1).iloc[-500:]
        assert each.historical is not None
        assert each.historical.windows == 500
        expected = measure((100 * earned["A"] - 40 * earned["B"]).to_numpy())
        assert each.historical.measures.var_99 == pytest.approx(expected.var_99)
        assert each.historical.measures.es_975 == pytest.approx(expected.es_975)
        assert each.historical.measures.mean == pytest.approx(expected.mean)


@pytest.mark.parametrize(
    ("rows", "windows"),
    [
        pytest.param(104, None, id="99-windows-of-5-bars"),
        pytest.param(105, 100, id="100-windows-of-5-bars"),
    ],
)
def test_a_short_past_is_not_simulated(rows: int, windows: int | None) -> None:
    found = portfolio_risk(
        pd.Series({"A": 1.0}),
        random_closes("A", rows=rows),
        missed(EVENLY, "A"),
        quantiles=normal(0.01),
        baseline_quantiles=normal(0.01),
        horizons_bars=(5,),
    )

    past = found.horizons[0].historical
    assert (past and past.windows) == windows


def test_it_says_what_is_held_and_learnt() -> None:
    closes = random_closes("ABC")
    closes["C"] = np.nan  # not held, so nothing is asked of it

    found = portfolio_risk(
        pd.Series({"A": 100.0, "C": 0.0, "B": -40.0}),
        closes,
        missed(np.array([3.0, 1.0]) * independent("BA"), "BA"),  # in another order
        quantiles=normal(0.01, 0.02, 0.03),
        baseline_quantiles=normal(0.01, 0.02, 0.03),
        horizons_bars=(1,),
    )

    assert (found.gross_value, found.net_value) == (140, 60)
    forecast = found.horizons[0].forecast
    assert list(forecast.components.index) == ["A", "B"]
    assert forecast.stand_alone["B"] == pytest.approx(3 * 40 * 0.03 * SHORTFALL, rel=0.2)


def test_a_holding_that_cannot_lose_has_no_diversification() -> None:
    certain = np.full((1, 1, 7), 0.01)

    found = risk_of({"A": 100.0}, certain, scores=EVENLY).horizons[0].forecast

    assert found.measures.es_975 == pytest.approx(-100 * math.expm1(0.01))
    assert math.isnan(found.diversification)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"A": 0.0, "B": 0.0}, "a value that is not 0, found none"),
        ({}, "a value that is not 0, found none"),
        ({"A": 1.0, "B": math.nan}, "the value of B: expected a sum of money, found nan"),
        ({"A": math.inf}, "the value of A: expected a sum of money, found inf"),
        ({"A": 1.0, "Z": 1.0}, "symbols with closes, found Z"),
    ],
)
def test_holdings_that_are_none(values: dict[str, float], message: str) -> None:
    with pytest.raises(HoldingsError, match=message):
        risk_of(
            values,
            normal(*[0.01] * len(values)),
            scores=independent("".join(values)),
            closes=random_closes("AB"),
        )


def test_a_symbol_that_stands_twice_is_refused() -> None:
    with pytest.raises(HoldingsError, match="each symbol once, found A twice"):
        portfolio_risk(
            pd.Series(np.ones(2), index=["A", "A"]),
            random_closes("A"),
            missed(EVENLY, "A"),
            quantiles=normal(0.01, 0.01),
            baseline_quantiles=normal(0.01, 0.01),
            horizons_bars=(1,),
        )


@pytest.mark.parametrize("which", ["forecast", "baseline"])
def test_quantiles_that_cross_are_refused(which: str) -> None:
    good = normal(0.01, 0.01)
    bad = good.copy()
    bad[1, 0] = bad[1, 0, ::-1]

    with pytest.raises(
        ForecastError, match=f"the {which} of B, horizon_bars 1: .* never cross"
    ):
        portfolio_risk(
            pd.Series({"A": 1.0, "B": 1.0}),
            random_closes("AB"),
            missed(independent("AB"), "AB"),
            quantiles=bad if which == "forecast" else good,
            baseline_quantiles=bad if which == "baseline" else good,
            horizons_bars=(1,),
        )


def test_past_forecasts_of_another_symbol_are_refused() -> None:
    with pytest.raises(ForecastError, match="every held symbol, found none of B"):
        portfolio_risk(
            pd.Series({"A": 1.0, "B": 1.0}),
            random_closes("AB"),
            missed(EVENLY, "A"),
            quantiles=normal(0.01, 0.01),
            baseline_quantiles=normal(0.01, 0.01),
            horizons_bars=(1,),
        )
