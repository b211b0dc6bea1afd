"""How much a price moves in one bar, from a window of closes."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Float64Array = npt.NDArray[np.float64]


def ewma_volatility(closes: npt.NDArray[np.floating[Any]], *, decay: float) -> Float64Array:
    """Exponentially weighted volatility of the log return of one bar.

    A missing bar inside the window makes the next return span several bars; its square
    is spread over them.  Weights are normalised over the returns that exist, so a short
    window is not biased towards zero.

    Args:
        closes: shape (rows, bars), oldest first, > 0 or NaN; at least 2 known a row.
        decay: weight of a return relative to the one after it, in (0, 1).

    Returns:
        float64, shape (rows,), standard deviation a bar around a zero mean, ≥ 0.

    Source:
        RiskMetrics Technical Document, J.P. Morgan/Reuters, 4th ed. 1996, section 5.2.
    """
    returns, spans = bar_returns(closes)
    variance = returns**2 / spans  # (rows, bars - 1), NaN where no return ends
    bars = closes.shape[1] - 1
    weights = decay ** np.arange(bars - 1, -1, -1.0)  # (bars - 1,), newest weighs 1
    known = ~np.isnan(variance)
    weighted = np.where(known, variance, 0.0) * weights
    volatility: Float64Array = np.sqrt(weighted.sum(1) / (known * weights).sum(1))
    return volatility


def bar_returns(
    closes: npt.NDArray[np.floating[Any]],
) -> tuple[Float64Array, Float64Array]:
    """Log return ending at each bar, and the bars it spans.

    Args:
        closes: shape (rows, bars), > 0 or NaN.

    Returns:
        Two float64 arrays of shape (rows, bars - 1): the log return since the last known
        close, NaN where this close or every earlier one is missing; and its span, ≥ 1.
    """
    log_closes = np.log(closes.astype(np.float64))
    bars = np.arange(closes.shape[1])
    known_at = np.where(np.isnan(log_closes), -1, bars)
    last_known = np.maximum.accumulate(known_at, axis=1)[:, :-1]  # before each bar
    before = np.take_along_axis(log_closes, np.maximum(last_known, 0), axis=1)
    returns = np.where(last_known >= 0, log_closes[:, 1:] - before, np.nan)
    spans = (bars[1:] - last_known).astype(np.float64)
    return returns, spans
