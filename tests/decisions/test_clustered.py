from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import stats

from megatick_decisions import clustered
from megatick_decisions.clustered import clustered_mean, clustered_rank_correlation

Days = npt.NDArray[np.datetime64]


def days(count: int) -> Days:
    return np.arange(count).astype("datetime64[D]")


def test_mean_is_of_events_and_counts_the_days_that_have_one() -> None:
    on = np.array([0, 0, 0, 3, 9]).astype("datetime64[D]")

    found = clustered_mean(np.array([1.0, 2.0, 6.0, 3.0, np.nan]), on, on, seed=0)

    assert found.value == 3.0  # (1 + 2 + 6 + 3) / 4, not the mean of the days' means
    assert (found.events, found.days) == (4, 2)


@pytest.mark.parametrize(
    ("count", "looks_on", "needed"),
    [
        pytest.param(9, 1, 10, id="single-days"),
        pytest.param(10, 1, None, id="ten-single-days"),
        pytest.param(49, 3, 50, id="blocks-of-2*3-1-days"),
        pytest.param(50, 3, None, id="ten-blocks-of-5-days"),
    ],
)
def test_no_interval_is_made_up_of_few_days(
    count: int, looks_on: int, needed: int | None
) -> None:
    on = days(count)

    found = clustered_mean(np.sin(np.arange(count)), on, on + looks_on, seed=0)

    if needed is None:
        assert found.interval is not None
        assert found.why_no_interval is None
    else:
        assert found.interval is None
        assert found.why_no_interval == (
            f"{count} days with events, at least {needed} are needed"
        )


def test_days_so_far_apart_that_returns_do_not_overlap_stand_alone() -> None:
    on = days(200)[::20]  # 10 of them

    found = clustered_mean(np.sin(np.arange(10)), on, on + 20, seed=0)

    assert found.interval is not None


def test_interval_of_many_independent_days_is_the_normals() -> None:
    values = np.random.default_rng(0).normal(size=1000)
    on = days(1000)

    interval = clustered_mean(values, on, on, seed=0).interval

    assert interval is not None
    error = values.std() / 1000**0.5
    expected = values.mean() + error * stats.norm.ppf([0.025, 0.975])
    np.testing.assert_allclose(interval, expected, atol=0.15 * error)


def test_interval_of_ten_days_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clustered, "_RESAMPLES", 20_000)
    values = np.random.default_rng(1).normal(size=10)
    on = days(10)

    interval = clustered_mean(values, on, on, seed=0).interval

    # Student's 2.5 % point with 9 degrees is -2.2622, times sqrt(10/9) is -2.3845, and the
    # normal distribution has 0.00855 below that
    drawn = np.random.default_rng(2).choice(values, (200_000, 10)).mean(axis=1)
    expected = np.quantile(drawn, [0.00855, 1 - 0.00855])
    assert interval is not None
    np.testing.assert_allclose(interval, expected, atol=0.08 * drawn.std())


def test_events_of_one_day_are_no_further_evidence() -> None:
    values = np.random.default_rng(0).normal(size=40)
    on = days(40)

    once = clustered_mean(values, on, on, seed=0)
    thrice = clustered_mean(np.repeat(values, 3), on.repeat(3), on.repeat(3), seed=0)

    assert thrice.events == 3 * once.events
    assert once.interval is not None
    assert thrice.interval is not None
    np.testing.assert_allclose(thrice.interval, once.interval)


def test_intervals_of_overlapping_returns_hold_the_truth(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of means of returns over 20 bars; intervals by single days hold it half the time."""
    monkeypatch.setattr(clustered, "_RESAMPLES", 300)
    rng = np.random.default_rng(0)
    on = days(600)
    held = 0
    for _ in range(60):
        path = rng.normal(size=620).cumsum()
        interval = clustered_mean(path[20:] - path[:600], on, on + 20, seed=0).interval
        assert interval is not None
        held += interval[0] <= 0 <= interval[1]

    assert held >= 51  # 85 %


def test_rank_correlation_is_scipys_and_of_what_both_have() -> None:
    rng = np.random.default_rng(0)
    left = rng.integers(-3, 4, size=300).astype(np.float64)  # with ties
    right = left + rng.normal(size=300) * 3
    left[5], right[7] = np.nan, np.nan
    on = days(300)

    found = clustered_rank_correlation(left, right, on, on, seed=0)

    both = np.isfinite(left) & np.isfinite(right)
    expected = stats.spearmanr(left[both], right[both]).statistic
    assert found.value == pytest.approx(expected, abs=1e-12)
    assert found.events == 298


def test_what_rises_together_does_so_on_whatever_days_are_drawn() -> None:
    left = np.random.default_rng(0).normal(size=30)
    on = days(10).repeat(3)

    found = clustered_rank_correlation(left, np.exp(left), on, on, seed=0)

    assert found.value == pytest.approx(1)
    assert found.interval == pytest.approx((1, 1))


def test_rank_correlations_interval_is_that_of_ranking_anew() -> None:
    rng = np.random.default_rng(0)
    day = np.arange(150).repeat(4)
    of_day = rng.normal(size=(150, 2))[day] * 0.7
    left = rng.normal(size=600) + of_day[:, 0]
    right = 0.6 * left + rng.normal(size=600) + of_day[:, 1]
    on = day.astype("datetime64[D]")

    found = clustered_rank_correlation(left, right, on, on, seed=0)

    drawn = []
    for _ in range(1000):
        rows = (rng.integers(0, 150, 150)[:, None] * 4 + np.arange(4)).ravel()
        drawn.append(stats.spearmanr(left[rows], right[rows]).statistic)
    assert found.interval is not None
    expected = np.quantile(drawn, [0.025, 0.975])
    np.testing.assert_allclose(found.interval, expected, atol=0.3 * np.std(drawn))


def test_rank_correlation_says_why_it_has_no_interval() -> None:
    on = days(40)
    moves = np.sin(np.arange(40.0))
    third = np.where(np.arange(40) == 3, 1.0, 0.0)

    alike = clustered_rank_correlation(np.zeros(40), moves, on, on, seed=0)
    one_differs = clustered_rank_correlation(third, moves, on, on, seed=0)
    none = clustered_rank_correlation(np.full(40, np.nan), moves, on, on, seed=0)

    assert np.isnan(alike.value)
    assert alike.why_no_interval == "all are alike"
    assert np.isfinite(one_differs.value)
    assert one_differs.why_no_interval == "too few days differ"
    assert none.why_no_interval == "no event has it"
    assert alike.interval is one_differs.interval is none.interval is None
