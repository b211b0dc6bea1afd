from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.api import OLS

from megatick_training.errors import EvaluationError
from megatick_training.evaluation.diebold_mariano import diebold_mariano


def test_by_hand() -> None:
    # 9 dates: lags = ⌈1.3·3⌉ = 4, weights 0.8, 0.6, 0.4, 0.2.  The mean is -1; deviations
    # from it are 1, -1, 0, 0, 0, 0, 0, 0, 0: γ₀ = 2/9, γ₁ = -1/9, the others 0.
    difference = np.array([0.0, -2, -1, -1, -1, -1, -1, -1, -1])

    test = diebold_mariano(difference, np.zeros(9), horizon=1)

    long_run = 2 / 9 - 2 * 0.8 / 9
    correction = (9 + 1 - 2 * 5 + 5 * 4 / 9) / 9
    assert test.mean_difference == -1
    assert test.statistic == pytest.approx(-1 / math.sqrt(long_run / 9 / correction))
    assert test.p_value == pytest.approx(stats.t.cdf(test.statistic, 8))


@pytest.mark.parametrize(("horizon", "lags"), [(1, 19), (20, 40), (80, 100), (120, 119)])
def test_its_variance_is_statsmodels_hac(horizon: int, lags: int) -> None:
    # ⌈1.3·√200⌉ = 19; twice the horizon, up to half of the dates; the horizon's overlap.
    rng = np.random.default_rng(0)
    difference = np.convolve(rng.normal(size=209), np.ones(10), "valid") - 0.2
    fit = OLS(difference, np.ones(200)).fit(
        cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False}
    )
    used = lags + 1
    correction = (200 + 1 - 2 * used + used * (used - 1) / 200) / 200

    test = diebold_mariano(difference, np.zeros(200), horizon=horizon)

    assert test.statistic == pytest.approx(fit.tvalues[0] * math.sqrt(correction))


def test_the_smaller_loss_has_the_smaller_p_value() -> None:
    rng = np.random.default_rng(1)
    good, bad = rng.uniform(0, 1, (100, 5)), rng.uniform(0, 1.4, (100, 5))

    assert diebold_mariano(good, bad, horizon=1).p_value < 0.01
    assert diebold_mariano(bad, good, horizon=1).p_value > 0.99


def test_a_dates_symbols_are_one_observation() -> None:
    rng = np.random.default_rng(2)
    a, b = rng.uniform(size=(2, 60))

    alone = diebold_mariano(a, b, horizon=5)
    repeated = diebold_mariano(np.tile(a[:, None], 20), np.tile(b[:, None], 20), horizon=5)

    assert repeated.statistic == pytest.approx(alone.statistic)


def test_what_is_missing_is_left_out() -> None:
    rng = np.random.default_rng(3)
    a, b = rng.uniform(size=(2, 60))
    sparse = np.stack([a, np.full(60, np.nan)], axis=1)
    sparse = np.insert(sparse, 7, np.nan, axis=0)  # a date without a forecast

    test = diebold_mariano(sparse, np.insert(np.stack([b, b], 1), 7, 0.0, 0), horizon=1)

    assert test == diebold_mariano(a, b, horizon=1)


def test_no_difference_shows_nothing() -> None:
    losses = np.random.default_rng(4).uniform(size=50)

    test = diebold_mariano(losses, losses, horizon=1)

    assert (test.statistic, test.p_value, test.mean_difference) == (0.0, 1.0, 0.0)


def test_the_same_difference_each_date_is_certain() -> None:
    test = diebold_mariano(np.zeros(50), np.ones(50), horizon=1)

    assert (test.statistic, test.p_value) == (-math.inf, 0.0)


def test_equal_losses_are_rejected_as_often_as_said() -> None:
    """At the 5 % level, of a year of windows of 20 bars that overlap.

    2,000 draws leave a standard error of 0.6 points; over 19 lags it is 8.6 %.
    """
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(2000, 269))
    zeros = np.zeros(250)
    p_values = [
        diebold_mariano(np.convolve(row, np.ones(20), "valid"), zeros, horizon=20).p_value
        for row in noise
    ]

    assert np.mean(np.array(p_values) < 0.05) == pytest.approx(0.06, abs=0.015)


def test_shapes_that_differ_and_too_few_dates_are_refused() -> None:
    with pytest.raises(EvaluationError, match=r"expected one shape, \(3,\), found \(4,\)"):
        diebold_mariano(np.zeros(3), np.zeros(4), horizon=1)
    with pytest.raises(EvaluationError, match="expected more than 20, found 20"):
        diebold_mariano(np.zeros(20), np.ones(20), horizon=20)
