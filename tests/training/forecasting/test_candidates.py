from __future__ import annotations

import numpy as np
import pytest

from megatick_training.forecasting.candidates import (
    FROM_NEWS,
    FROM_PRICES,
    RANDOM_WALK,
    Candidate,
    fit,
)

RANDOM = np.random.default_rng(0)
ROWS = 20_000
VALUES = {"a": RANDOM.normal(size=ROWS), "b": RANDOM.normal(size=ROWS)}
NOISE = RANDOM.normal(size=ROWS)


def test_the_scale_is_found_that_made_the_moves() -> None:
    moves = np.exp(0.2 + 0.5 * VALUES["a"] - 0.1 * VALUES["b"]) * NOISE

    found = fit(Candidate("scale", scale=("a", "b")), VALUES, moves)

    # The mean |move| of a normal is √(2/π); 20,000 rows give about 0.01.
    assert found.log_scale == pytest.approx({"a": 0.5, "b": -0.1}, abs=0.03)
    assert found.intercept == pytest.approx(0.2 + np.log(np.sqrt(2 / np.pi)), abs=0.03)
    assert np.abs(found.noise(VALUES, moves)).mean() == pytest.approx(1, abs=0.02)


def test_the_location_is_found_and_crashes_do_not_set_it() -> None:
    moves = 0.3 * VALUES["a"] + NOISE
    moves[:200] = -50  # a crash

    found = fit(Candidate("location", location=("a",)), VALUES, moves)

    assert found.location == pytest.approx({"a": 0.3}, abs=0.05)


def test_quantiles_undo_what_noise_does() -> None:
    moves = 0.1 * VALUES["a"] + np.exp(0.5 * VALUES["a"]) * NOISE
    found = fit(Candidate("both", scale=("a",), location=("a",)), VALUES, moves)

    noise = found.noise(VALUES, moves)
    level = np.quantile(noise, 0.8)
    below = moves <= found.quantiles(VALUES, np.array([level]))[:, 0]

    assert below.mean() == pytest.approx(0.8, abs=1e-3)


def test_the_random_walk_leans_on_nothing() -> None:
    found = fit(RANDOM_WALK, VALUES, NOISE)

    assert (found.log_scale, found.location) == ({}, {})
    assert FROM_PRICES[0] is RANDOM_WALK  # the baseline is the first trial


def test_only_the_candidates_for_news_lean_on_sentiment() -> None:
    def leans(candidate: Candidate) -> bool:
        names = (*candidate.scale, *candidate.location)
        return any(name.startswith(("news", "sentiment")) for name in names)

    assert not any(map(leans, FROM_PRICES))
    assert all(map(leans, FROM_NEWS))
