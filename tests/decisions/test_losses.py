from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from megatick_decisions.dependence import antithetic_scores
from megatick_decisions.losses import (
    LossMeasures,
    measure,
    tail_weights,
    value_at_risk,
    value_at_risk_interval,
)


def test_by_hand() -> None:
    # Losses of 1, 2, …, 200 in some order.  Of 200, 10 (5 %) exceed 190 and 2 (1 %) exceed
    # 198; the worst 10 are 191 to 200 with mean 195.5, and the worst 5 are 196 to 200.
    profits = -np.random.default_rng(0).permutation(np.arange(1.0, 201.0))

    found = measure(profits)

    assert found.mean == pytest.approx(-100.5)
    assert (found.var_95, found.var_99) == (190, 198)
    assert found.es_95 == pytest.approx(195.5)
    assert found.es_975 == pytest.approx(198)


def test_an_outcome_may_count_in_part() -> None:
    # 2.5 % of 100 outcomes are 2.5: all of 100 and 99, half of 98, over 2.5.
    profits = -np.arange(1.0, 101.0)

    assert measure(profits).es_975 == pytest.approx((100 + 99 + 0.5 * 98) / 2.5)
    assert tail_weights(profits, level=0.975).sum() == pytest.approx(1)


def test_a_portfolio_that_only_earns_has_a_value_at_risk_below_0() -> None:
    profits = np.arange(1.0, 201.0)

    assert value_at_risk(profits, level=0.95) == -11  # ten earn less: 1 to 10
    assert measure(profits).es_95 == pytest.approx(-5.5)


def test_a_normals_measures() -> None:
    profits = 3 + 2 * stats.norm.ppf((np.arange(1_000_000) + 0.5) / 1_000_000)

    found = measure(profits)

    def shortfall(chance: float) -> float:  # φ(z) over the chance, of a standard normal
        return float(stats.norm.pdf(stats.norm.ppf(chance)) / chance)

    assert found.var_95 == pytest.approx(-3 + 2 * 1.6448536, abs=1e-4)
    assert found.var_99 == pytest.approx(-3 + 2 * 2.3263479, abs=1e-4)
    assert found.es_95 == pytest.approx(-3 + 2 * shortfall(0.05), abs=1e-3)
    assert found.es_975 == pytest.approx(-3 + 2 * shortfall(0.025), abs=1e-3)


def test_shares() -> None:
    assert LossMeasures(1, 2, 3, 4, 5).share_of(10) == LossMeasures(0.1, 0.2, 0.3, 0.4, 0.5)


@pytest.mark.parametrize("level", [0.95, 0.99])
def test_the_interval_covers_the_truth_as_often_as_it_says(level: float) -> None:
    truth = stats.norm.ppf(level)
    covered = 0
    for seed in range(1000):
        profits = antithetic_scores(2000, 1, seed=seed)[:, 0]
        lower, upper = value_at_risk_interval(profits, level=level)
        assert lower <= value_at_risk(profits, level=level) <= upper
        covered += lower <= truth <= upper

    # Ends are whole ranks, rounded outwards.  Four standard errors of 95 % in 1,000: 2.8 %.
    assert 922 <= covered <= 990


def test_the_interval_knows_that_pairs_may_lose_together() -> None:
    # A loss of z² is the same for z and -z: 1,000 draws tell what 500 do.
    truth = stats.chi2.ppf(0.95, 1)
    covered = 0
    for seed in range(1000):
        losses = antithetic_scores(2000, 1, seed=seed)[:, 0] ** 2
        lower, upper = value_at_risk_interval(-losses, level=0.95)
        covered += lower <= truth <= upper

    assert 922 <= covered <= 990  # binomial ranks: 849


def test_outcomes_that_never_vary_have_an_interval_of_no_width() -> None:
    assert value_at_risk_interval(np.full(100, -7.0), level=0.99) == (7.0, 7.0)
