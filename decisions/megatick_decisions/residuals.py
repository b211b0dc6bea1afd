"""Standardised residuals: where a return fell among the quantiles of its forecast."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from megatick_decisions.errors import ForecastError

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]


def standardised(
    returns: Float64Array, quantiles: Float64Array | Float32Array
) -> Float64Array:
    """Place each return among its forecast's quantiles.

    The lowest quantile is 0, the next 1, and so on; between two a residual is linear in the
    return, and beyond the outermost the outermost segment goes on in a straight line, so
    that -2 is below the lowest quantile by twice the distance to the next.  With a
    location and a scale of all quantiles it is the usual residual, less the one, over the
    other; no distribution is assumed.

    Args:
        returns: float64, shape (…), log returns.
        quantiles: shape (…, Q), of each return as forecast, that ``check_quantiles`` lets
            pass.

    Returns:
        float64, shape (…).  A return equal to quantiles that are all the same is in their
        middle, (Q - 1)/2; any other return beyond a segment without width is ±infinite.

    >>> standardised(np.array([-0.07, 0.02]), np.array([[-0.03, -0.01, 0.03]] * 2))
    array([-2.  ,  1.75])
    """
    known = np.asarray(quantiles, np.float64)
    segment = (returns[..., None] >= known[..., 1:-1]).sum(axis=-1, keepdims=True)
    lower, upper = (
        np.take_along_axis(known, segment + side, axis=-1)[..., 0] for side in (0, 1)
    )
    above, width = returns - lower, upper - lower
    middle = (known.shape[-1] - 1) / 2
    certain = (known[..., 0] == known[..., -1]) & (above == 0)
    with np.errstate(divide="ignore", invalid="ignore"):
        within = np.where(above == 0, 0.0, above / width)
    residuals: Float64Array = np.where(certain, middle, segment[..., 0] + within)
    return residuals


def returns_at(
    residuals: Float64Array, quantiles: Float64Array | Float32Array
) -> Float64Array:
    """Give each symbol's log return at standardised residuals: undo ``standardised``.

    Args:
        residuals: float64, shape (scenarios, symbols), finite.
        quantiles: shape (symbols, Q), log returns that ``check_quantiles`` lets pass.

    Returns:
        float64, shape (scenarios, symbols), not falling along a column whose residuals
        rise.

    >>> returns_at(np.array([[-2.0], [1.75]]), np.array([[-0.03, -0.01, 0.03]])).round(6)
    array([[-0.07],
           [ 0.02]])
    """
    known = np.asarray(quantiles, np.float64)
    symbols, levels = known.shape
    segment = np.clip(residuals, 0, levels - 2).astype(np.intp)  # rounded down
    widths = np.diff(known, axis=1)
    each = np.arange(symbols)
    returns: Float64Array = (
        known[each, segment] + (residuals - segment) * widths[each, segment]
    )
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
