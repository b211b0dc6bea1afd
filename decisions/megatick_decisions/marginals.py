"""A symbol's whole distribution of the log return, from the quantiles of its forecast."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
from scipy.special import stdtrit

from megatick_contract import LEVELS
from megatick_decisions.errors import ForecastError

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_OUTERMOST_SCORE: Final = 1e6
"""No draw is beyond it: with three degrees of freedom the chance is below 1e-17."""


def returns_at(
    scores: Float64Array,
    quantiles: Float64Array | Float32Array,
    *,
    levels: Sequence[float] = LEVELS,
    degrees_of_freedom: float = math.inf,
) -> Float64Array:
    """Give each symbol's log return at normal scores, or at those of Student's t.

    A normal score z stands for the level Φ(z): 0 is the median, -1.645 the 5 % quantile.
    Between two levels the return is linear in the score, so that a normal distribution's
    quantiles give back that normal distribution.  Beyond the outermost levels the outermost
    segment goes on, in a straight line.  That is an assumption: a tail is as thin as a
    normal one, with the spread of the last segment, and what is fatter beyond the outermost
    level is not seen.  Scores of Student's t assume tails as fat as that distribution's.

    Args:
        scores: float64, shape (draws, symbols), within ±1e6.
        quantiles: shape (symbols, Q), log returns that ``check_quantiles`` lets pass.
        levels: Q levels in (0, 1), rising.
        degrees_of_freedom: of the scores' distribution; infinite is the normal one.

    Returns:
        float64, shape (draws, symbols), not falling along a column whose scores rise.

    >>> levels, quantiles = (0.05, 0.5, 0.95), np.array([[-0.02, 0.0, 0.03]])
    >>> returns_at(np.array([[-1.645], [0], [1.645]]), quantiles, levels=levels).T.round(4)
    array([[-0.02,  0.  ,  0.03]])
    >>> returns_at(np.array([[-3.29]]), quantiles, levels=levels).round(4)
    array([[-0.04]])
    """
    inner = stdtrit(degrees_of_freedom, np.array(levels, np.float64))
    knots = np.concatenate([[-_OUTERMOST_SCORE], inner, [_OUTERMOST_SCORE]])
    known = np.asarray(quantiles, np.float64)
    slopes = (known[:, [1, -1]] - known[:, [0, -2]]) / (inner[[1, -1]] - inner[[0, -2]])
    ends = known[:, [0, -1]] + slopes * (knots[[0, -1]] - inner[[0, -1]])
    table = np.concatenate([ends[:, :1], known, ends[:, 1:]], axis=1)
    returns = np.empty_like(scores)
    for symbol, row in enumerate(table):
        returns[:, symbol] = np.interp(scores[:, symbol], knots, row)
    return returns


def check_quantiles(
    what: str,
    quantiles: Float64Array | Float32Array,
    *,
    axes: Sequence[Sequence[object]],
    levels: Sequence[float],
) -> None:
    """Refuse quantiles that are no distribution.

    Args:
        what: the forecast's name in a message.
        quantiles: shape (…, Q); equal neighbours are a distribution, falling ones are not.
        axes: what stands along each axis but the last, in order, by name.
        levels: Q levels.

    Raises:
        ForecastError: another shape, levels that do not rise within (0, 1) or are fewer
            than two, a quantile that is not finite, or one below that of a lower level.
    """
    if len(levels) < 2 or not (np.diff([0.0, *levels, 1.0]) > 0).all():
        raise ForecastError(
            f"levels of {what}", "at least 2, rising, in (0, 1)", str(tuple(levels))
        )
    expected = (*map(len, axes), len(levels))
    if quantiles.shape != expected:
        raise ForecastError(what, f"shape {expected}", f"{quantiles.shape}")
    unknown = ~np.isfinite(quantiles)
    falls = np.zeros_like(unknown)
    falls[..., 1:] = quantiles[..., 1:] < quantiles[..., :-1]
    for wrong, rule in (
        (unknown, "finite quantiles"),
        (falls, "quantiles that never cross"),
    ):
        if wrong.any():
            *place, level = map(int, np.argwhere(wrong)[0])
            row = quantiles[tuple(place)]
            where = ", ".join(str(axis[at]) for axis, at in zip(axes, place, strict=True))
            below = "" if wrong is unknown else f" after {row[level - 1]:g}"
            raise ForecastError(
                f"{what} of {where}",
                rule,
                f"{row[level]:g} at level {levels[level]:g}{below}",
            )
