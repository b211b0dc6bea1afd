"""Plans of when calls are due, held to arithmetic and to what a Poisson process is."""

from __future__ import annotations

import math

import numpy as np
import pytest

from megatick_client.load import Schedule, ScheduleError, burst, constant, poisson


@pytest.mark.parametrize(
    ("rate_per_s", "duration_s", "calls"),
    [
        pytest.param(100, 2, 200, id="100/s-for-2s"),
        pytest.param(0.1, 30, 3, id="0.1/s-for-30s-though-the-product-exceeds-3"),
        pytest.param(3, 0.5, 2, id="3/s-for-half-a-second-at-0-and-a-third"),
        pytest.param(1, 0.2, 1, id="the-first-is-at-0"),
    ],
)
def test_constant_calls_are_evenly_spaced(
    rate_per_s: float, duration_s: float, calls: int
) -> None:
    plan = constant(rate_per_s, duration_s)

    expected = [number / rate_per_s for number in range(calls)]
    np.testing.assert_allclose(plan.starts_s, expected, rtol=1e-15)
    assert plan.rate_per_s == calls / duration_s


def test_poisson_gaps_are_exponential() -> None:
    """10,000 calls: their number within 4 standard deviations, 100, of its mean; gaps of
    mean and deviation 1/rate; the share above the mean is 1/e."""
    plan = poisson(100, 100, seed=1)

    gaps = np.diff(plan.starts_s)
    assert abs(len(plan) - 10_000) < 4 * 100
    assert gaps.mean() == pytest.approx(0.01, rel=0.04)
    assert gaps.std() == pytest.approx(0.01, rel=0.06)
    assert (gaps > 0.01).mean() == pytest.approx(1 / math.e, abs=0.02)


def test_a_seed_is_a_plan() -> None:
    assert np.array_equal(
        poisson(50, 10, seed=3).starts_s, poisson(50, 10, seed=3).starts_s
    )
    assert not np.array_equal(
        poisson(50, 10, seed=3).starts_s[:10], poisson(50, 10, seed=4).starts_s[:10]
    )


def test_a_burst_raises_the_rate_where_it_is() -> None:
    """10/s for 100 s but 200/s from 30 s to 50 s: 300, 4,000 and 500 calls, each within
    4 standard deviations."""
    plan = burst(10, 100, burst_rate_per_s=200, burst_start_s=30, burst_length_s=20, seed=2)

    counts, _ = np.histogram(plan.starts_s, bins=[0, 30, 50, 100])
    for found, expected in zip(counts.tolist(), (300, 4000, 500), strict=True):
        assert abs(found - expected) < 4 * math.sqrt(expected)
    within, _ = np.histogram(plan.starts_s, bins=[30, 35, 40, 45, 50])
    assert within.min() > 1000 - 4 * math.sqrt(1000)


@pytest.mark.parametrize(
    ("start_s", "length_s", "counts"),
    [
        pytest.param(0, 5, (1000, 5), id="from-the-beginning"),
        pytest.param(5, 5, (5, 1000), id="to-the-end"),
    ],
)
def test_a_burst_may_touch_the_edges(
    start_s: float, length_s: float, counts: tuple[int, int]
) -> None:
    plan = burst(
        1, 10, burst_rate_per_s=200, burst_start_s=start_s, burst_length_s=length_s
    )

    found, _ = np.histogram(plan.starts_s, bins=[0, 5, 10])
    for each, expected in zip(found.tolist(), counts, strict=True):
        assert abs(each - expected) < 4 * math.sqrt(expected)


def test_twice_as_fast() -> None:
    plan = constant(4, 2).faster(2)

    assert plan.starts_s.tolist() == [n / 8 for n in range(8)]
    assert (plan.duration_s, plan.rate_per_s) == (1, 8)
    assert "2 times" in plan.name


@pytest.mark.parametrize(
    ("make", "message"),
    [
        pytest.param(lambda: constant(0, 1), "rate: expected calls/s > 0", id="rate-0"),
        pytest.param(lambda: constant(math.nan, 1), "rate: .* found nan", id="rate-nan"),
        pytest.param(lambda: poisson(1, 0), "duration: expected seconds", id="duration-0"),
        pytest.param(lambda: poisson(1, math.inf), "duration", id="duration-inf"),
        pytest.param(lambda: poisson(1e-9, 1), "at least one call", id="no-call"),
        pytest.param(lambda: constant(1e6, 1e6), "at most 50,000,000 calls", id="slip"),
        pytest.param(lambda: constant(1, 1).faster(0), "speed", id="speed-0"),
        pytest.param(
            lambda: burst(1, 10, burst_rate_per_s=9, burst_start_s=8, burst_length_s=3),
            "within 0 to 10 s, found 8 s to 11 s",
            id="burst-beyond-the-end",
        ),
        pytest.param(
            lambda: burst(1, 9, burst_rate_per_s=0, burst_start_s=1, burst_length_s=3),
            "burst rate",
            id="burst-rate-0",
        ),
        pytest.param(
            lambda: Schedule("mine", np.array([0.0, 2.0, 1.0]), 3.0),
            "mine: expected starts that rise",
            id="backwards",
        ),
        pytest.param(
            lambda: Schedule("mine", np.array([-1.0, 2.0]), 3.0), ">= 0 s", id="negative"
        ),
        pytest.param(
            lambda: Schedule("mine", np.array([0.0, 4.0]), 3.0),
            "at most 3 s",
            id="beyond-the-duration",
        ),
    ],
)
def test_what_is_no_plan_is_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(ScheduleError, match=message):
        make()
