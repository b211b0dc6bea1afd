"""How well a sentiment model tells the classes, with what chance allows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from arch.bootstrap import IIDBootstrap

from megatick_contract import LABELS
from megatick_export.evaluation import calibration_error
from megatick_training.errors import EvaluationError

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

CONFIDENCE: Final = 0.95
_RESAMPLES: Final = 1000


@dataclass(frozen=True)
class Measured:
    """A figure and its 95 % interval.

    Attributes:
        value: of all texts.
        low: lower end.
        high: upper end.
    """

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        """As in ``0.880 (0.865 to 0.894)``."""
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"


@dataclass(frozen=True)
class SentimentJudgement:
    """How a model did on labelled texts.

    Attributes:
        texts: how many.
        accuracy: share of right classes, in [0, 1].
        macro_f1: unweighted mean of the three classes' F1, in [0, 1].
        calibration_error: expected calibration error, in [0, 1]; None of a model that
            names a class and no probability.
        confusion: texts by true class (rows) and predicted class, in class order.
    """

    texts: int
    accuracy: Measured
    macro_f1: Measured
    calibration_error: Measured | None
    confusion: tuple[tuple[int, ...], ...]


def judge(
    classes: IntArray, predicted: IntArray | npt.NDArray[np.floating[Any]], *, seed: int = 0
) -> SentimentJudgement:
    """Judge predictions of texts that were not trained on.

    Intervals are percentiles of a bootstrap over the texts: they say how the figure would
    vary between sets of this size from this source, and nothing of other sources.

    Args:
        classes: true classes, indices into ``LABELS``, shape (n,).
        predicted: probabilities, shape (n, 3), in class order; or classes, shape (n,).
        seed: of the bootstrap.

    Raises:
        EvaluationError: no text, or shapes that do not fit.

    Source:
        Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, section 13.3; the
        calibration error is ``megatick_export.evaluation.calibration_error``.
    """
    shapes = {(len(classes),), (len(classes), len(LABELS))}
    if not len(classes) or predicted.shape not in shapes:
        raise EvaluationError(
            "predictions to judge",
            f"shape (texts,) or (texts, {len(LABELS)}) of at least one text",
            f"{predicted.shape} for {len(classes)} labels",
        )
    measured = _measures(classes, predicted)
    bounds = IIDBootstrap(classes, predicted, seed=seed).conf_int(
        _measures, reps=_RESAMPLES, method="percentile", size=CONFIDENCE
    )
    accuracy, macro_f1, *calibration = (
        Measured(*map(float, each)) for each in zip(measured, *bounds, strict=True)
    )
    table = _confusion(classes, _argmax(predicted))
    return SentimentJudgement(
        texts=len(classes),
        accuracy=accuracy,
        macro_f1=macro_f1,
        calibration_error=calibration[0] if calibration else None,
        confusion=tuple(tuple(map(int, row)) for row in table),
    )


def _measures(classes: IntArray, predicted: npt.NDArray[Any]) -> Float64Array:
    """Accuracy, macro-F1 and, of probabilities, the calibration error."""
    best = _argmax(predicted)
    table = _confusion(classes, best)
    right, named_or_true = np.diag(table), table.sum(axis=0) + table.sum(axis=1)
    f1 = 2 * right / np.maximum(named_or_true, 1)  # 0 of a class that is in neither
    measures = [right.sum() / table.sum(), f1.mean()]
    if predicted.ndim == 2:
        measures.append(calibration_error(predicted, best == classes))
    return np.array(measures)


def _confusion(classes: IntArray, predicted: IntArray) -> IntArray:
    """Texts by true class (rows) and predicted class."""
    cells = np.bincount(len(LABELS) * classes + predicted, minlength=len(LABELS) ** 2)
    return cells.reshape(len(LABELS), len(LABELS))


def _argmax(predicted: npt.NDArray[Any]) -> IntArray:
    best: IntArray = predicted.argmax(axis=1) if predicted.ndim == 2 else predicted
    return best
