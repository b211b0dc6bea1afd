from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from scipy import stats

from megatick_decisions.dependence import (
    antithetic_scores,
    common_closes,
    correlated,
    correlation,
)
from megatick_decisions.errors import DecisionError, HoldingsError, TooFewCloses

Float64Array = npt.NDArray[np.float64]


def closes_of(returns: Float64Array, symbols: str) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=len(returns) + 1, freq="D", tz="UTC")
    steps = np.concatenate([np.zeros((1, returns.shape[1])), returns])
    return pd.DataFrame(
        100 * np.exp(steps.cumsum(axis=0)), index=index, columns=list(symbols)
    )


def alternating(returns: int) -> Float64Array:
    """Two columns of ±1 % that agree three times of four: their correlation is 1/2."""
    first = np.tile([1.0, 1.0, -1.0, -1.0, 1.0, 1.0, -1.0, -1.0], returns // 8)
    second = np.tile([1.0, 1.0, -1.0, -1.0, 1.0, -1.0, -1.0, 1.0], returns // 8)
    both: Float64Array = np.stack([first, second], axis=1) * 0.01
    return both


def test_by_hand() -> None:
    # Standardised, the products x·y are +1 three times of four: correlation 1/2, and the
    # matrix [[1, 1/2], [1/2, 1]] is off the identity by d² = 2·(1/2)²/2 = 1/4 (Ledoit and
    # Wolf divide norms by the number of columns).  One day's matrix [[1, ±1], [±1, 1]] is
    # off the mean of all by 2·(1/2)²/2 = 1/4 for agreement, 2·(3/2)²/2 = 9/4 else; their
    # mean is 3/4, so b² = 3/4/n, and the shrinkage b²/d² = 3/n.
    found = correlation(closes_of(alternating(120), "AB"), ["A", "B"])

    assert found.returns == 120
    assert found.shrinkage == pytest.approx(3 / 120)
    half = 0.5 * (1 - 3 / 120)
    np.testing.assert_allclose(found.matrix, [[1, half], [half, 1]], atol=1e-9)


def test_a_symbols_scale_and_drift_do_not_matter() -> None:
    plain = alternating(120)
    other = plain * [1.0, 30.0] + [0.002, -0.001]

    np.testing.assert_allclose(
        correlation(closes_of(other, "AB"), ["A", "B"]).matrix,
        correlation(closes_of(plain, "AB"), ["A", "B"]).matrix,
    )


def test_only_the_latest_count() -> None:
    early = np.random.default_rng(0).normal(0, 0.5, (400, 2))
    closes = closes_of(np.concatenate([early, alternating(248)]), "AB")

    found = correlation(closes, ["A", "B"], window_returns=248)

    assert found.returns == 248
    np.testing.assert_allclose(found.matrix[0, 1], 0.5 * (1 - 3 / 248))
    assert correlation(closes, ["A", "B"]).returns == 250


def test_a_holiday_of_one_is_a_longer_return_of_all() -> None:
    closes = closes_of(np.random.default_rng(1).normal(0, 0.01, (100, 3)), "ABC")
    holed = closes.copy()
    holed.iloc[40, 0] = np.nan
    holed.iloc[70, 1] = np.nan
    holed.iloc[80, 2] = np.nan  # C is not held: its holiday is nobody's

    found = correlation(holed, ["A", "B"])

    without = closes[["A", "B"]].drop(closes.index[[40, 70]])
    assert found.returns == 98
    np.testing.assert_array_equal(found.matrix, correlation(without, ["A", "B"]).matrix)


def test_a_symbol_with_too_few_closes_is_named() -> None:
    closes = closes_of(np.random.default_rng(2).normal(0, 0.01, (100, 3)), "ABC")
    closes.iloc[:60, 1] = np.nan  # 41 of 101 are left

    with pytest.raises(TooFewCloses) as refused:
        correlation(closes, ["A", "B", "C"])

    assert str(refused.value) == (
        "closes that all held symbols have at the same times: expected at least 61, found "
        "41 (B has 41).  Give a longer history, or leave those symbols out."
    )


def test_61_closes_are_enough_and_60_are_not() -> None:
    closes = closes_of(np.random.default_rng(3).normal(0, 0.01, (60, 2)), "AB")

    assert correlation(closes, ["A", "B"]).returns == 60
    with pytest.raises(TooFewCloses, match=r"found 60 \(A has 60, B has 60\)"):
        correlation(closes.iloc[1:], ["A", "B"])


def test_symbols_that_trade_at_different_times_are_named() -> None:
    closes = closes_of(np.random.default_rng(3).normal(0, 0.01, (199, 2)), "AB")
    closes.iloc[:100, 0] = np.nan
    closes.iloc[100:, 1] = np.nan

    with pytest.raises(TooFewCloses, match=r"found 0 \(A has 100, B has 100\)"):
        correlation(closes, ["A", "B"])


def test_a_close_that_never_changes_is_named() -> None:
    closes = closes_of(np.random.default_rng(4).normal(0, 0.01, (300, 2)), "AB")
    closes["B"] = 7.0

    with pytest.raises(HoldingsError, match="closes of B: expected a change"):
        correlation(closes, ["A", "B"])


def test_a_symbol_without_closes_is_named() -> None:
    closes = closes_of(np.zeros((2, 2)), "AB")

    with pytest.raises(HoldingsError, match="symbols with closes, found D"):
        common_closes(closes, ["A", "D"])


def test_scores_come_in_antithetic_pairs_and_from_the_seed() -> None:
    scores = antithetic_scores(1000, 3, seed=5)

    np.testing.assert_array_equal(scores[:500], -scores[500:])
    np.testing.assert_array_equal(scores, antithetic_scores(1000, 3, seed=5))
    assert not (scores == antithetic_scores(1000, 3, seed=6)).any()
    # 500 independent squares of variance 2: their mean is within 4·√(2/500) = 0.25 of 1.
    np.testing.assert_allclose((scores**2).mean(axis=0), 1, atol=0.25)


def test_scores_of_students_t_are_far_out_together() -> None:
    scores = antithetic_scores(400_000, 2, seed=0, degrees_of_freedom=4.0)
    far = scores < stats.t.ppf(0.01, 4)

    np.testing.assert_array_equal(scores[:200_000], -scores[200_000:])
    # Pairs exclude each other, so a count of 4,000 has a deviation of at most 63.
    np.testing.assert_allclose(far.mean(axis=0), 0.01, atol=4 * 63 / 400_000)
    # By the bivariate t distribution both are with a chance of 0.00089; 0.0001 if one had
    # nothing to do with the other.
    both = stats.multivariate_t.cdf(
        [stats.t.ppf(0.01, 4)] * 2, shape=np.eye(2), df=4, random_state=0
    )
    assert far.all(axis=1).mean() == pytest.approx(both, rel=0.2)
    assert both == pytest.approx(0.00089, abs=1e-5)


@pytest.mark.parametrize("degrees", [2.0, 0.0, -1.0, np.nan])
def test_degrees_of_freedom_leave_a_variance(degrees: float) -> None:
    with pytest.raises(DecisionError, match="degrees of freedom: expected more than 2"):
        antithetic_scores(2, 1, seed=0, degrees_of_freedom=degrees)


@pytest.mark.parametrize("rho", [-1.0, -0.3, 0.0, 0.8, 1.0])
def test_scores_have_the_correlation(rho: float) -> None:
    scores = correlated(
        antithetic_scores(200_000, 2, seed=0), np.array([[1.0, rho], [rho, 1.0]])
    )

    # 100,000 independent products: 4 standard errors are at most 4·√(2/100,000) = 0.018.
    np.testing.assert_allclose(
        scores.T @ scores / len(scores), [[1, rho], [rho, 1]], atol=0.018
    )
    if abs(rho) == 1:
        np.testing.assert_allclose(scores[:, 0], rho * scores[:, 1], atol=1e-6)
