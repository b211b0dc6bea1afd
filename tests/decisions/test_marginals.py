from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from megatick_contract import LEVELS
from megatick_decisions.errors import ForecastError
from megatick_decisions.marginals import check_quantiles, returns_at

STANDARD = stats.norm.ppf(LEVELS)


def test_a_normals_quantiles_give_back_the_normal() -> None:
    quantiles = np.array([0.001 + 0.02 * STANDARD, -0.002 + 0.05 * STANDARD])
    chances = np.array([1e-12, 0.001, 0.05, 0.3, 0.5, 0.77, 0.95, 0.9999])
    scores = np.repeat(stats.norm.ppf(chances)[:, None], 2, axis=1)

    returns = returns_at(scores, quantiles)

    np.testing.assert_allclose(returns[:, 0], stats.norm.ppf(chances, 0.001, 0.02))
    np.testing.assert_allclose(returns[:, 1], stats.norm.ppf(chances, -0.002, 0.05))


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        pytest.param(-1.0, -0.03, id="a-quantile"),
        pytest.param(-0.5, -0.02, id="halfway-between-two"),
        pytest.param(0.25, 0.0, id="a-quarter-of-the-way-from--0.01-to-0.03"),
        pytest.param(-3.0, -0.07, id="2-further-down-at-slope-0.02"),
        pytest.param(3.0, 0.11, id="2-further-up-at-slope-0.04"),
    ],
)
def test_it_is_linear_in_the_normal_score(score: float, expected: float) -> None:
    levels = stats.norm.cdf([-1.0, 0.0, 1.0])
    quantiles = np.array([[-0.03, -0.01, 0.03]])

    returns = returns_at(np.array([[score]]), quantiles, levels=levels)

    np.testing.assert_allclose(returns, [[expected]], atol=1e-12)


def test_a_students_quantiles_give_back_the_student_at_its_scores() -> None:
    quantiles = 0.001 + 0.02 * stats.t.ppf(LEVELS, 4)[None]
    chances = np.array([0.0001, 0.01, 0.05, 0.4, 0.9, 0.999])

    returns = returns_at(
        stats.t.ppf(chances, 4)[:, None], quantiles, degrees_of_freedom=4.0
    )

    np.testing.assert_allclose(returns[:, 0], stats.t.ppf(chances, 4, 0.001, 0.02))


def test_it_never_falls_and_float32_will_do() -> None:
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.normal(0, 0.05, (30, len(LEVELS)))).astype(np.float32)
    quantiles[:, 3] = quantiles[:, 2]  # a jump in the distribution
    scores = np.repeat(np.linspace(-38, 38, 2001)[:, None], 30, axis=1)

    returns = returns_at(scores, quantiles)

    assert (np.diff(returns, axis=0) >= 0).all()
    assert np.isfinite(returns).all()


def test_quantiles_that_cross_are_refused_by_name() -> None:
    quantiles = np.tile(STANDARD, (2, 3, 1))
    quantiles[1, 2, 4] = 9.0  # level 0.75; that of 0.9 is 1.28155

    with pytest.raises(ForecastError) as refused:
        check_quantiles(
            "the forecast",
            quantiles,
            axes=(["A", "B"], ["horizon_bars 1", "horizon_bars 5", "horizon_bars 20"]),
            levels=LEVELS,
        )

    assert str(refused.value) == (
        "the forecast of B, horizon_bars 20: expected quantiles that never cross, found "
        "1.28155 at level 0.9 after 9."
    )


def test_equal_quantiles_pass() -> None:
    check_quantiles("a flat forecast", np.zeros((1, 7)), axes=(["A"],), levels=LEVELS)


def test_what_is_no_number_is_refused_by_name() -> None:
    quantiles = STANDARD[None].copy()
    quantiles[0, 0] = np.nan

    with pytest.raises(
        ForecastError, match=r"x of A: expected finite .* nan at level 0.05"
    ):
        check_quantiles("x", quantiles, axes=(["A"],), levels=LEVELS)


def test_another_shape_is_refused() -> None:
    with pytest.raises(ForecastError, match=r"shape \(2, 7\), found \(1, 7\)"):
        check_quantiles("x", STANDARD[None], axes=(["A", "B"],), levels=LEVELS)


@pytest.mark.parametrize(
    "levels", [(0.5,), (0.0, 0.5), (0.5, 1.0), (0.5, 0.5), (0.9, 0.1), (0.1, np.nan)]
)
def test_levels_rise_within_0_and_1(levels: tuple[float, ...]) -> None:
    with pytest.raises(ForecastError, match="levels of x"):
        check_quantiles("x", np.zeros((1, len(levels))), axes=(["A"],), levels=levels)
