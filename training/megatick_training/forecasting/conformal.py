"""Quantiles of the noise that cover what they say, from moves later than the fit.

Moves of one week are one piece of news, however many symbols and overlapping windows tell
it.  So not the moves are counted but stretches of time: each has the weight of one, to be
shared by its moves, and so has the stretch that is yet to come, of which the worst is
assumed.  The fewer stretches, the wider the intervals.

Source:
    Hierarchical conformal prediction, by groups: Lee, Barber and Willett,
    "Distribution-free inference with hierarchical data", 2023, arXiv:2306.06342, section
    3.  The score |noise|: Lei, G'Sell, Rinaldo, Tibshirani and Wasserman,
    "Distribution-free predictive inference for regression", JASA 113 (2018), section 5.2.
    Each tail apart: Romano, Patterson and Candès, "Conformalized quantile regression",
    NeurIPS 2019, theorem 2.  Markets change, so stretches are not exchangeable: the
    coverage is judged on later data, not promised.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

from megatick_contract import WINDOW_BARS
from megatick_training.forecasting.windows import dates_of

Float64Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]

_LEAST_STRETCHES: Final = 20
"""With 19, one assumed to be the worst is the 5 % beyond the outer level already."""


def stretches(at: Times, until: Times, *, horizon_bars: int) -> npt.NDArray[np.intp]:
    """Number the stretch of time that each forecast belongs to.

    A stretch is as long as a window and its horizon, so that all but neighbours share no
    close; or a twentieth of the time, where that is shorter.

    Args:
        at: shape (n,), when each forecast was made.
        until: shape (n, H), when its horizons ended.
        horizon_bars: how far ahead it looks.

    Returns:
        Shape (n,), from 0.
    """
    dates, date = np.unique(at, return_inverse=True)
    whole = dates_of(WINDOW_BARS + horizon_bars, at=at, until=until)
    return date // min(whole, max(1, len(dates) // _LEAST_STRETCHES))


def conformal_quantiles(
    noise: Float64Array,
    groups: npt.NDArray[np.intp],
    levels: Sequence[float],
    *,
    skewed: bool,
) -> Float64Array:
    """Quantiles of a noise.

    Args:
        noise: shape (n,), what the fit left of later moves.
        groups: shape (n,), the stretch of each.
        levels: Q, rising, each in (0, 1).
        skewed: each tail by itself; if not, symmetric around 0, by |noise|.

    Returns:
        float64, shape (Q,), rising.
    """
    _, group, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    weights = 1 / (sizes[group] * (len(sizes) + 1))  # they sum to K / (K + 1)

    def upper(scores: Float64Array, share: float) -> float:
        order = np.argsort(scores)
        reached = np.cumsum(weights[order]).searchsorted(share - 1e-9)
        return float(scores[order[min(reached, len(order) - 1)]])

    def quantile(level: float) -> float:
        if level == 0.5:
            return float(np.median(noise)) if skewed else 0.0
        side = math.copysign(1, level - 0.5)
        if skewed:
            return side * upper(side * noise, max(level, 1 - level))
        return side * upper(np.abs(noise), abs(2 * level - 1))

    return np.array([quantile(level) for level in levels])
