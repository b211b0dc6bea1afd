"""The windows with a volatility, and what a candidate sees of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from megatick_contract import HORIZONS_BARS
from megatick_server.forecast import FEATURES, Observed, observe
from megatick_training.forecasting.windows import Windows

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]

EWMA_DECAY: Final = 0.94
"""RiskMetrics' decay for daily returns (Technical Document, 1996, section 5.3.2.1)."""


@dataclass(frozen=True)
class Sample:
    """Rows that something can be learnt from.

    Attributes:
        windows: those whose price moved at all.
        features: by name, float64, shape (rows,) each, as the server computes them.
        to_horizon: float64, shape (rows, H), volatility · √horizon.
    """

    windows: Windows
    features: Mapping[str, Float64Array]
    to_horizon: Float64Array

    def moves(self, horizon: int) -> Float64Array:
        """Returns to a horizon, given by its index, in volatilities to it."""
        moves: Float64Array = self.windows.returns[:, horizon] / self.to_horizon[:, horizon]
        return moves

    def features_of(self, rows: BoolArray) -> dict[str, Float64Array]:
        """The features of some rows."""
        return {name: values[rows] for name, values in self.features.items()}


def make_sample(windows: Windows, *, half_life_s: float) -> Sample:
    """Compute every feature; a window that never moved has no scale and is left out."""
    moved = (windows.closes != windows.closes[:, :1]).any(axis=1)
    kept = windows.take(moved)
    seen: Observed = observe(
        kept.closes,
        kept.state,
        kept.elapsed_s,
        ewma_decay=EWMA_DECAY,
        half_life_s=half_life_s,
    )
    return Sample(
        windows=kept,
        features={name: feature(seen) for name, feature in FEATURES.items()},
        to_horizon=seen.volatility[:, None] * np.sqrt(HORIZONS_BARS),
    )
