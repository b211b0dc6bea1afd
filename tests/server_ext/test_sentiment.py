from __future__ import annotations

import numpy as np
import pytest

from megatick_server.sentiment import add_score, class_probabilities, decay, polarity


@pytest.mark.parametrize(
    ("logits", "expected"),
    [
        pytest.param([0, 0, 0], [1 / 3, 1 / 3, 1 / 3], id="uniform"),
        pytest.param([1e4, 0, 0], [1, 0, 0], id="no-overflow"),
        pytest.param([0, 0, np.log(2)], [0.25, 0.25, 0.5], id="one-one-two"),
    ],
)
def test_class_probabilities(logits: list[float], expected: list[float]) -> None:
    found = class_probabilities(np.array([logits], np.float32))

    np.testing.assert_allclose(found, [expected], atol=1e-6)


def test_polarity_is_positive_minus_negative() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.0, 0.0, 1.0]], np.float32)

    np.testing.assert_allclose(polarity(probabilities), [[-0.6], [1.0]], atol=1e-6)


def test_a_state_halves_in_a_half_life_and_keeps_its_last_score_and_count() -> None:
    state = np.array([[1.2, 2.0, -0.4, 3.0]], np.float32)

    aged = decay(state, np.array([[7200.0]], np.float32), half_life_s=3600.0)

    np.testing.assert_allclose(aged, [[0.3, 0.5, -0.4, 3.0]], atol=1e-6)
    np.testing.assert_array_equal(state, np.array([[1.2, 2.0, -0.4, 3.0]], np.float32))


def test_a_score_adds_itself_with_weight_one() -> None:
    state = np.array([[0.3, 0.5, -0.4, 3.0]], np.float32)

    following = add_score(state, np.array([[0.8]], np.float32))

    np.testing.assert_allclose(following, [[1.1, 1.5, 0.8, 4.0]], atol=1e-6)
