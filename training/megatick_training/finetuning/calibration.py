"""One temperature for a classifier's logits, so that its probabilities mean what they say.

Source: Guo, Pleiss, Sun and Weinberger, "On Calibration of Modern Neural Networks",
ICML 2017, section 4.2.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.optimize import minimize_scalar
from sklearn.metrics import log_loss

from megatick_export.evaluation import probabilities

_LOG_BOUNDS: Final = (-3.0, 3.0)
"""A temperature between 0.05 and 20; one at the bound says that something else is wrong."""


def fit_temperature(
    logits: npt.NDArray[np.float32], classes: npt.NDArray[np.intp]
) -> float:
    """Find what to divide logits by for the least log loss on texts not trained on.

    Args:
        logits: float32, shape (texts, classes).
        classes: shape (texts,), the right ones.

    Returns:
        The temperature, > 0: above 1 where the model was too sure of itself.
    """

    def loss(log_temperature: float) -> float:
        cooled = probabilities(logits / np.float32(np.exp(log_temperature)))
        return float(log_loss(classes, cooled, labels=range(logits.shape[1])))

    found = minimize_scalar(loss, bounds=_LOG_BOUNDS, method="bounded")
    return float(np.exp(found.x))
