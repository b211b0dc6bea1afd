from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from megatick_decisions.losses import (
    measure,
    tail_weights,
    value_at_risk,
    value_at_risk_interval,
)


def test_by_hand() -> None:
    # Losses of 1, 2, …, 200 in some order: i stands for i/201, so 95 % are at 190.95 and
    # 99 % at 198.99; the worst 10 are 191 to 200 with mean 195.5, the worst 5 196 to 200.
    profits = -np.random.default_rng(0).permutation(np.arange(1.0, 201.0))

    found = measure(profits)

    assert found.mean == pytest.approx(-100.5)
    assert (found.var_95, found.var_99) == pytest.approx((190.95, 198.99))
    assert found.es_95 == pytest.approx(195.5)
    assert found.es_975 == pytest.approx(198)


def test_an_outcome_may_count_in_part() -> None:
    # 2.5 % of 100 outcomes are 2.5: all of 100 and 99, half of 98, over 2.5.
    profits = -np.arange(1.0, 101.0)

    assert measure(profits).es_975 == pytest.approx((100 + 99 + 0.5 * 98) / 2.5)
    assert tail_weights(profits, level=0.975).sum() == pytest.approx(1)


def test_a_portfolio_that_only_earns_has_a_value_at_risk_below_0() -> None:
    profits = np.arange(1.0, 201.0)

    assert value_at_risk(profits, level=0.95) == pytest.approx(-10.05)
    assert measure(profits).es_95 == pytest.approx(-5.5)


def test_a_normals_measures() -> None:
    profits = 3 + 2 * stats.norm.ppf((np.arange(1_000_000) + 0.5) / 1_000_000)

    found = measure(profits)

    def shortfall(chance: float) -> float:  # φ(z) over the chance, of a standard normal
        return float(stats.norm.pdf(stats.norm.ppf(chance)) / chance)

    assert found.var_95 == pytest.approx(-3 + 2 * 1.6448536, abs=1e-3)
    assert found.var_99 == pytest.approx(-3 + 2 * 2.3263479, abs=1e-3)
    assert found.es_95 == pytest.approx(-3 + 2 * shortfall(0.05), abs=1e-3)
    assert found.es_975 == pytest.approx(-3 + 2 * shortfall(0.025), abs=1e-3)


def test_a_new_loss_exceeds_it_as_often_as_it_says() -> None:
    # Of 199 losses and a new one each is the new one as likely: it is among the largest two
    # of 200 in 1 % of the cases.  Four standard errors in 20,000: 0.3 %.
    losses = np.random.default_rng(0).standard_t(4, (20_000, 200))
    exceeded = [row[-1] > value_at_risk(-row[:-1], level=0.99) for row in losses]

    assert np.mean(exceeded) == pytest.approx(0.01, abs=0.003)  # one of 199 more: 0.015


@pytest.mark.parametrize(("level", "chance"), [(0.95, 0.9605), (0.99, 0.9802)])
def test_the_interval_covers_the_truth_as_often_as_it_says(
    level: float, chance: float
) -> None:
    truth = stats.norm.ppf(level)
    covered = 0
    for seed in range(1000):
        profits = np.random.default_rng(seed).standard_normal(500)
        lower, upper = value_at_risk_interval(profits, level=level)
        assert lower <= value_at_risk(profits, level=level) <= upper
        covered += lower <= truth <= upper

    # Ranks are whole, so the chances are not quite 95 %: those of 465 to 484, and of 490 to
    # 499, of 500 losing less.  Four standard errors in 1,000 are at most 0.025.
    assert covered / 1000 == pytest.approx(chance, abs=0.025)


def test_of_few_outcomes_an_interval_has_no_upper_end() -> None:
    profits = -np.random.default_rng(0).permutation(np.arange(1.0, 101.0))

    # How many of 100 lose less than what 99 % do: 97 to 100 in all but 1.8 % of cases (as
    # likely above 96 as Poisson's 1 is below 4).
    assert value_at_risk_interval(profits, level=0.99) == (97, np.inf)


def test_outcomes_that_never_vary_have_an_interval_of_no_width() -> None:
    assert value_at_risk_interval(np.full(500, -7.0), level=0.99) == (7.0, 7.0)
