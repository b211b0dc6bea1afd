from __future__ import annotations

import numpy as np
import pytest

from megatick_training.forecasting.conformal import conformal_quantiles, stretches

TWENTY = np.arange(20)


def test_with_one_move_a_stretch_it_is_split_conformal() -> None:
    noise = np.random.default_rng(0).permutation(np.arange(1.0, 21)) * (-1) ** TWENTY

    symmetric = conformal_quantiles(
        noise, TWENTY, [0.05, 0.25, 0.5, 0.75, 0.95], skewed=False
    )

    # The ⌈21·0.9⌉ = 19th and the ⌈21·0.5⌉ = 11th smallest |noise| of 1 … 20.
    np.testing.assert_array_equal(symmetric, [-19, -11, 0, 11, 19])


def test_each_tail_may_be_calibrated_apart() -> None:
    noise = np.arange(1.0, 21)

    skewed = conformal_quantiles(noise, TWENTY, [0.1, 0.5, 0.9], skewed=True)

    # Upwards the ⌈21·0.9⌉ = 19th smallest, downwards the 19th largest.
    np.testing.assert_array_equal(skewed, [2, 10.5, 19])


def test_a_stretch_weighs_one_however_many_moves_tell_it() -> None:
    # 18 quiet stretches with one move each, one stormy stretch with a thousand.
    noise = np.concatenate([np.full(18, 1.0), np.full(1000, 9.0)])
    groups = np.concatenate([np.arange(18), np.full(1000, 18)])

    quantiles = conformal_quantiles(noise, groups, [0.05, 0.95], skewed=False)

    # The quiet ones have 18/20 of the weight, and 0.9 is asked for.
    np.testing.assert_array_equal(quantiles, [-1, 1])


def test_a_stretch_is_a_window_and_its_horizon_or_a_twentieth_of_the_time() -> None:
    days = np.arange("2000-01-01", "2010-01-01", dtype="datetime64[D]").repeat(2)
    until = days[:, None] + np.array([1, 5, 20])

    long = stretches(days, until, horizon_bars=20)
    short = stretches(days[:400], until[:400], horizon_bars=20)  # 200 bars

    assert (long == 0).sum() == 2 * (64 + 20)
    assert short.max() + 1 == 20


def test_a_stretch_is_no_shorter_where_exchanges_close_at_other_hours() -> None:
    days = np.arange("2000-01-01", "2010-01-01", dtype="datetime64[h]")[::24]
    at = np.concatenate([days, days + 9])
    until = at[:, None] + 24 * np.array([1, 5, 20])

    found = stretches(at, until, horizon_bars=20)

    assert (found == 0).sum() == 2 * (64 + 20)


@pytest.mark.parametrize("skewed", [False, True])
def test_quantiles_rise(skewed: bool) -> None:
    noise = np.random.default_rng(1).standard_t(3, 500)

    quantiles = conformal_quantiles(
        noise, np.arange(500) // 7, [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95], skewed=skewed
    )

    assert (np.diff(quantiles) > 0).all()
