"""Forecasts: the price window, the sentiment state beside it, and the quantiles."""

from __future__ import annotations

from typing import Final

from megatick_contract.tensors import ANY, Tensor

WINDOW_BARS: Final = 64
"""Closes in a price window, oldest first; a shorter history is padded on the left
with NaN, and a NaN inside it is a missing bar."""

HORIZONS_BARS: Final = (1, 5, 20)
"""Default horizons, in bars after the last close."""

LEVELS: Final = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
"""Default quantile levels, rising, each in (0, 1)."""

STATE_SCORE_SUM, STATE_WEIGHT, STATE_LAST_SCORE, STATE_TEXTS = range(4)
"""The slots of ``SENTIMENT_STATE``."""

PRICES: Final = Tensor(
    "PRICES",
    "FP32",
    (WINDOW_BARS,),
    "closes, oldest first, > 0, NaN-padded on the left",
)
SENTIMENT_STATE: Final = Tensor(
    "SENTIMENT_STATE",
    "FP32",
    (4,),
    "decayed sum of scores, decayed weight, last score, texts seen; zeros at first",
)
ELAPSED_S: Final = Tensor("ELAPSED_S", "FP32", (1,), "seconds since that state, >= 0")
NEXT_SENTIMENT_STATE: Final = Tensor(
    "NEXT_SENTIMENT_STATE",
    "FP32",
    (4,),
    "the state after this text, as SENTIMENT_STATE",
)
QUANTILES: Final = Tensor(
    "QUANTILES", "FP32", (ANY, ANY), "[H, Q] log return to each horizon, rising along Q"
)
P_UP: Final = Tensor("P_UP", "FP32", (ANY,), "[H] P(log return > 0), in [0, 1]")
BASELINE_QUANTILES: Final = Tensor(
    "BASELINE_QUANTILES",
    "FP32",
    (ANY, ANY),
    "[H, Q] the same of a driftless random walk",
)
HORIZONS: Final = Tensor("HORIZONS", "INT32", (ANY,), "[H] bars", on_request=True)
LEVELS_OUT: Final = Tensor("LEVELS", "FP32", (ANY,), "[Q] quantile levels", on_request=True)
BAR_S: Final = Tensor("BAR_S", "FP32", (1,), "seconds a bar lasts", on_request=True)
HALF_LIFE_S: Final = Tensor(
    "HALF_LIFE_S",
    "FP32",
    (1,),
    "seconds in which news loses half its weight",
    on_request=True,
)
EDGE: Final = Tensor(
    "EDGE",
    "BOOL",
    (ANY,),
    "[H] beat the random walk in its last evaluation",
    on_request=True,
)
EDGE_P_VALUE: Final = Tensor(
    "EDGE_P_VALUE",
    "FP32",
    (ANY,),
    "[H] p-value of that test, in [0, 1]",
    on_request=True,
)
