from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score

from megatick_training.errors import EvaluationError
from megatick_training.evaluation.sentiment import Measured, judge


def test_by_hand() -> None:
    probabilities = np.array(
        [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.1, 0.8, 0.1], [0, 0.2, 0.8]]
    )
    judged = judge(np.array([0, 1, 2, 2]), probabilities)

    assert judged.texts == 4
    assert judged.confusion == ((1, 0, 0), (0, 1, 0), (0, 1, 1))
    assert judged.accuracy.value == 0.75
    # F1: 1 of negative; neutral 2·1/(2·1+1); positive likewise
    assert judged.macro_f1.value == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)
    assert judged.calibration_error is not None
    assert judged.calibration_error.value == pytest.approx(0.8 - 0.75)


def test_its_figures_are_scikit_learns() -> None:
    rng = np.random.default_rng(0)
    classes, predicted = rng.integers(0, 3, size=(2, 200))
    judged = judge(classes, predicted)

    assert judged.accuracy.value == pytest.approx(accuracy_score(classes, predicted))
    expected = f1_score(classes, predicted, average="macro")
    assert judged.macro_f1.value == pytest.approx(expected)
    np.testing.assert_array_equal(judged.confusion, confusion_matrix(classes, predicted))


def test_its_interval_is_the_binomials() -> None:
    right = np.arange(400) < 300
    judged = judge(np.where(right, 1, 0), np.ones(400, np.intp))

    deviation = np.sqrt(0.75 * 0.25 / 400)
    assert judged.accuracy.low == pytest.approx(0.75 - 1.96 * deviation, abs=0.005)
    assert judged.accuracy.high == pytest.approx(0.75 + 1.96 * deviation, abs=0.005)
    assert judged.macro_f1.low <= judged.macro_f1.value <= judged.macro_f1.high
    assert judged.calibration_error is None  # a class is no probability


def test_a_class_that_nobody_names_counts_for_macro_f1() -> None:
    judged = judge(np.array([0, 1]), np.array([0, 1]))

    assert judged.macro_f1.value == pytest.approx(2 / 3)


def test_it_reads_as_one_figure() -> None:
    assert str(Measured(0.88, 0.8651, 0.8939)) == "0.880 (0.865 to 0.894)"


@pytest.mark.parametrize("shape", [(0,), (3,), (2, 2)])
def test_what_does_not_fit_is_refused(shape: tuple[int, ...]) -> None:
    classes = np.zeros(2 if shape != (0,) else 0, np.intp)

    with pytest.raises(EvaluationError, match="predictions to judge"):
        judge(classes, np.zeros(shape))
