from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats
from sklearn.metrics import matthews_corrcoef, mean_pinball_loss
from statsmodels.api import OLS

from megatick_training.errors import EvaluationError
from megatick_training.evaluation.metrics import (
    crps,
    direction,
    interval_coverage,
    pinball_losses,
    price_errors,
    volatility_regimes,
)

Float64Array = npt.NDArray[np.float64]

LEVELS = np.array([0.1, 0.5, 0.9])


def test_pinball_losses_by_hand() -> None:
    losses = pinball_losses(np.array([1.0, -3.0]), np.array([[-1.0, 0, 2]] * 2), LEVELS)

    # 0.1·(1+1), 0.5·(1-0), (1-0.9)·(2-1);  (1-0.1)·(-1+3), 0.5·3, (1-0.9)·(2+3)
    np.testing.assert_allclose(losses, [[0.2, 0.5, 0.1], [1.8, 1.5, 0.5]])


def test_pinball_losses_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    observed, quantiles = rng.normal(size=50), np.sort(rng.normal(size=(50, 3)), axis=1)

    losses = pinball_losses(observed, quantiles, LEVELS).mean(axis=0)

    expected = [
        mean_pinball_loss(observed, quantiles[:, column], alpha=level)
        for column, level in enumerate(LEVELS)
    ]
    np.testing.assert_allclose(losses, expected)


def test_crps_of_many_quantiles_is_the_normals_closed_form() -> None:
    levels = np.arange(1, 1000) / 1000
    observed = np.array([-1.5, 0.0, 0.7])

    quantiles = np.tile(stats.norm.ppf(levels), (3, 1))
    score = crps(pinball_losses(observed, quantiles, levels), levels)

    # Gneiting and Raftery 2007, equation 21, at mean 0 and deviation 1
    cdf, pdf = stats.norm.cdf(observed), stats.norm.pdf(observed)
    expected = observed * (2 * cdf - 1) + 2 * pdf - 1 / np.sqrt(np.pi)
    np.testing.assert_allclose(score, expected, atol=1e-4)


def test_crps_by_hand_of_uneven_levels() -> None:
    score = crps(np.array([[0.2, 0.5, 0.1]]), LEVELS)

    # losses 0 at the levels 0 and 1
    expected = 2 * (0.1 * 0.2 / 2 + 0.4 * 0.7 / 2 + 0.4 * 0.6 / 2 + 0.1 * 0.1 / 2)
    np.testing.assert_allclose(score, [expected])


def test_coverage_overall_by_symbol_and_by_regime() -> None:
    observed = np.array(
        [0.0, -1.0, 2.1, 0.0, 3.0, 2.0]
    )  # in, in (an end), out, in, out, in
    coverage = interval_coverage(
        observed,
        np.array([[-1.0, 0, 2]] * 6),
        LEVELS,
        nominal=0.8,
        symbols=np.array(["A", "A", "A", "B", "B", "B"]),
        volatility=np.array([1.0, 2, 3, 30, 20, 10]),
    )

    assert coverage.overall == pytest.approx(4 / 6)
    assert coverage.by_symbol == pytest.approx({"A": 2 / 3, "B": 2 / 3})
    assert coverage.by_regime == pytest.approx({"calm": 1.0, "middle": 0.5, "stormy": 0.5})


def test_an_interval_needs_both_its_levels() -> None:
    with pytest.raises(
        EvaluationError, match=r"expected 0\.25 among them, found 0\.1, 0\.5"
    ):
        interval_coverage(
            np.zeros(1),
            np.zeros((1, 3)),
            LEVELS,
            nominal=0.5,
            symbols=np.array(["A"]),
            volatility=np.ones(1),
        )


def test_a_regime_is_of_the_symbols_own_volatility() -> None:
    volatility = np.array([0.3, 0.1, 0.2, 30, 10, 20])
    regimes = volatility_regimes(volatility, np.array(["A"] * 3 + ["B"] * 3))

    assert regimes.tolist() == ["stormy", "calm", "middle"] * 2


def test_price_errors_by_hand() -> None:
    errors = price_errors(np.array([10.0, 20.0]), np.array([11.0, 18.0]))

    assert (errors.mse, errors.mae) == (2.5, 1.5)  # (1 + 4)/2, (1 + 2)/2
    assert errors.mape == pytest.approx(0.1)  # (1/10 + 2/20)/2


def dates(number: int, each: int = 1) -> np.ndarray[tuple[int], np.dtype[np.datetime64]]:
    days = np.datetime64("2020-01-01") + np.arange(number)
    return np.repeat(days, each)


def test_direction_is_scikit_learns_and_its_error_the_binomials() -> None:
    rng = np.random.default_rng(1)
    returns = rng.normal(size=2000)
    p_up = np.clip(0.5 + 0.1 * returns + rng.normal(scale=0.2, size=2000), 0.01, 0.99)

    judged = direction(p_up, returns, dates(2000), horizon=1)

    accuracy = np.mean((p_up > 0.5) == (returns > 0))
    assert judged.calls == 2000
    assert judged.accuracy == pytest.approx(accuracy)
    assert judged.mcc == pytest.approx(matthews_corrcoef(returns > 0, p_up > 0.5))
    binomial = np.sqrt(accuracy * (1 - accuracy) / 2000)
    assert judged.accuracy_se == pytest.approx(binomial, rel=0.15)  # independent days
    # Both sides are as frequent, so the MCC is near 2·accuracy less 1.
    assert judged.mcc_se == pytest.approx(2 * binomial, rel=0.2)


def test_symbols_that_move_as_one_count_as_one() -> None:
    rng = np.random.default_rng(2)
    p_up, returns = rng.uniform(0.1, 0.9, size=300), rng.normal(size=300)

    alone = direction(p_up, returns, dates(300), horizon=1)
    tenfold = direction(
        np.repeat(p_up, 10), np.repeat(returns, 10), dates(300, 10), horizon=1
    )

    assert tenfold.calls == 10 * alone.calls
    assert tenfold.accuracy_se == pytest.approx(alone.accuracy_se)


@pytest.mark.parametrize(("horizon", "lags"), [(1, 21), (20, 40)])
def test_errors_are_statsmodels_hac_of_the_delta_method(horizon: int, lags: int) -> None:
    # ⌈1.3·√250⌉ = 21, and twice the horizon.  The MCC as a function of four means a date:
    # of both signs' ups, of those that agree in up, and of the rows there are.
    rng = np.random.default_rng(3)
    number = rng.integers(1, 6, 250)
    day = np.repeat(np.arange(250), number)
    common = np.convolve(rng.normal(size=269), np.ones(20), "valid")[day]
    returns, p_up = (
        common + rng.normal(scale=5, size=len(day)),
        0.5 + 0.01 * np.tanh(common + rng.normal(scale=9, size=len(day))),
    )
    up, rose = p_up > 0.5, returns > 0
    table = np.stack(
        [np.bincount(day, each) for each in (up, rose, up & rose, up == rose)] + [number],
        axis=1,
    )

    def measures(means: Float64Array) -> Float64Array:
        ups, rises, both, right, rows = means
        x, y = ups / rows, rises / rows
        mcc = (both / rows - x * y) / np.sqrt(x * (1 - x) * y * (1 - y))
        return np.array([right / rows, mcc])

    means = table.mean(axis=0)
    slopes = np.stack(
        [(measures(means + s) - measures(means - s)) / 2e-6 for s in np.eye(5) * 1e-6]
    )
    used = lags + 1
    correction = (250 + 1 - 2 * used + used * (used - 1) / 250) / 250
    expected = [
        OLS(influence, np.ones(250))
        .fit(cov_type="HAC", cov_kwds={"maxlags": lags, "use_correction": False})
        .bse[0]
        / np.sqrt(correction)
        for influence in ((table - means) @ slopes).T
    ]

    judged = direction(p_up, returns, dates(250)[day], horizon=horizon)

    assert [judged.accuracy, judged.mcc] == pytest.approx(measures(means))
    assert [judged.accuracy_se, judged.mcc_se] == pytest.approx(expected, rel=1e-6)


def test_of_moves_that_overlap_on_few_dates_little_is_known() -> None:
    # 60 dates of moves of 20 bars are three moves of the market: calls that know nothing
    # are further than two standard errors from a half in a few of 100, not in a third.
    rng, beyond = np.random.default_rng(4), 0
    for _ in range(100):
        steps = rng.normal(size=(80, 1)) + rng.normal(size=(80, 10))
        walked = steps.cumsum(axis=0)
        moves = walked[20:] - walked[:-20]
        lean = np.convolve(rng.normal(size=79), np.ones(20), "valid")
        p_up = np.repeat(0.5 + 0.01 * np.tanh(lean), 10)
        judged = direction(p_up, moves.ravel(), dates(60, 10), horizon=20)
        beyond += abs(judged.accuracy - 0.5) > 2 * judged.accuracy_se
    assert beyond < 20


def test_too_few_dates_give_no_error() -> None:
    # 3 dates, and lags of ⌈1.3·√3⌉ = 3
    judged = direction(np.full(6, 0.6), np.ones(6), dates(3, 2), horizon=1)

    assert (judged.accuracy, judged.mcc) == (1, 0)
    assert np.isnan([judged.accuracy_se, judged.mcc_se]).all()


def test_no_side_is_no_call() -> None:
    judged = direction(
        np.array([0.5, 0.6, 0.4]), np.array([1.0, 0, -1]), dates(3), horizon=1
    )

    assert (judged.calls, judged.accuracy, judged.mcc) == (1, 1.0, 0.0)

    judged = direction(np.full(3, 0.5), np.ones(3), dates(3), horizon=1)
    assert judged.calls == 0
    assert np.isnan([judged.accuracy, judged.accuracy_se, judged.mcc, judged.mcc_se]).all()
