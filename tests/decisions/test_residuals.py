from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from megatick_contract import LEVELS
from megatick_decisions.errors import ForecastError
from megatick_decisions.residuals import check_quantiles, returns_at, standardised

STANDARD = stats.norm.ppf(LEVELS)

BY_HAND = [
    pytest.param(-0.03, 0.0, id="the-lowest-quantile"),
    pytest.param(-0.02, 0.5, id="halfway-to-the-next"),
    pytest.param(0.0, 1.25, id="a-quarter-of-the-way-from--0.01-to-0.03"),
    pytest.param(0.03, 2.0, id="the-highest"),
    pytest.param(-0.07, -2.0, id="twice-0.02-further-down"),
    pytest.param(0.11, 4.0, id="twice-0.04-further-up"),
]
"""Returns, and their residuals of the quantiles -0.03, -0.01 and 0.03."""


@pytest.mark.parametrize(("move", "residual"), BY_HAND)
def test_a_residual_is_a_place_among_the_quantiles(move: float, residual: float) -> None:
    quantiles = np.array([[-0.03, -0.01, 0.03]])

    np.testing.assert_allclose(standardised(np.array([move]), quantiles), [residual])
    np.testing.assert_allclose(
        returns_at(np.array([[residual]]), quantiles), [[move]], atol=1e-12
    )


def test_it_follows_location_and_scale_whatever_the_distribution() -> None:
    # A move of 4 scales above its location is one of 4 scales above any other.
    before = 0.001 + 0.02 * STANDARD
    now = np.array([-0.002 + 0.05 * STANDARD])
    moves = 0.001 + 0.02 * np.array([-4.0, -1.0, 0.0, 2.5])

    residuals = standardised(moves, np.tile(before, (4, 1)))

    expected = -0.002 + 0.05 * np.array([-4.0, -1.0, 0.0, 2.5])
    np.testing.assert_allclose(returns_at(residuals[:, None], now)[:, 0], expected)


def test_each_return_has_its_own_quantiles_and_each_symbol() -> None:
    quantiles = np.array([[[0.0, 1.0], [0.0, 2.0]], [[1.0, 2.0], [0.0, 4.0]]])
    returns = np.array([[0.5, 0.5], [1.5, 1.0]])  # (bars, symbols)

    residuals = standardised(returns, quantiles)

    np.testing.assert_allclose(residuals, [[0.5, 0.25], [0.5, 0.25]])
    np.testing.assert_allclose(returns_at(residuals, quantiles[1]), [[1.5, 1.0]] * 2)


def test_it_never_falls_and_float32_will_do() -> None:
    rng = np.random.default_rng(0)
    quantiles = np.sort(rng.normal(0, 0.05, (30, len(LEVELS)))).astype(np.float32)
    quantiles[:, 3] = quantiles[:, 2]  # a jump in the distribution
    residuals = np.repeat(np.linspace(-38, 38, 2001)[:, None], 30, axis=1)

    returns = returns_at(residuals, quantiles)

    assert (np.diff(returns, axis=0) >= 0).all()
    assert np.isfinite(returns).all()


@pytest.mark.parametrize(
    ("quantiles", "move", "residual"),
    [
        pytest.param([0.0] * 5, 0.0, 2.0, id="certain-and-so-it-came"),
        pytest.param([0.0, 0.0, 0.0], -0.1, -np.inf, id="certain-and-it-fell"),
        pytest.param([0.0, 0.0, 0.0], 0.1, np.inf, id="certain-and-it-rose"),
        pytest.param([0.0, 0.0, 0.2], -0.1, -np.inf, id="no-width-below"),
        pytest.param([0.0, 0.0, 0.2], 0.1, 1.5, id="above-there-is"),
        pytest.param([0.0, 0.2, 0.2], 0.2, 1.0, id="at-an-edge-without-width"),
        pytest.param([0.0, 0.2, 0.2], 0.3, np.inf, id="no-width-above"),
    ],
)
def test_without_width_there_is_no_measure(
    quantiles: list[float], move: float, residual: float
) -> None:
    found = standardised(np.array([move]), np.array([quantiles]))

    np.testing.assert_allclose(found, [residual])


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
