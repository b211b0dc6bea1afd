"""The models that a server offers: three always, one where it was exported."""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from megatick_contract.prices import (
    BAR_S,
    BASELINE_QUANTILES,
    EDGE,
    EDGE_P_VALUE,
    ELAPSED_S,
    HALF_LIFE_S,
    HORIZONS,
    LEVELS_OUT,
    NEXT_SENTIMENT_STATE,
    P_UP,
    PRICES,
    QUANTILES,
    SENTIMENT_STATE,
)
from megatick_contract.tensors import ANY, Tensor
from megatick_contract.text import (
    EMBEDDING,
    PROBABILITIES,
    SCORE,
    SCORE_TOLERANCE,
    TEXT,
    TOKENS,
    TRUNCATED,
)

STAGES: Final = (
    "preprocess",
    "queue",
    "language_model",
    "sentiment_scores",
    "price_forecast",
)
"""What becomes of a request, in this order.  ``queue`` is the wait for the language model,
which runs the rows of many requests together."""

ROWS_PER_REQUEST: Final = 32
"""Rows of one request that every repository takes, if a model does not say otherwise.  On a
CPU the models take 256; on a GPU an engine reserves memory for the largest batch, and takes
these."""

MODEL_DIGEST: Final = Tensor(
    "MODEL_DIGEST", "BYTES", (1,), "SHA-256 of what is served, in hex", on_request=True
)
STAGE_US: Final = Tensor(
    "STAGE_US",
    "FP32",
    (ANY,),
    "[stages] microseconds the row's request took in each stage of its model; NaN where "
    "a step tells none",
    on_request=True,
)


@dataclass(frozen=True)
class Model:
    """A Triton model's name and signature.

    Attributes:
        name: as Triton knows it.
        inputs: all of them.
        outputs: all that may be asked for.
        rows_per_request: rows of one request that every repository's takes.
    """

    name: str
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    rows_per_request: int = ROWS_PER_REQUEST


_SENTIMENT_OUT: Final = (PROBABILITIES, SCORE, SCORE_TOLERANCE, TOKENS, TRUNCATED)
_FORECAST_OUT: Final = (
    QUANTILES,
    P_UP,
    BASELINE_QUANTILES,
    HORIZONS,
    LEVELS_OUT,
    BAR_S,
    HALF_LIFE_S,
    EDGE,
    EDGE_P_VALUE,
)
_ABOUT: Final = (MODEL_DIGEST, STAGE_US)
_WINDOW: Final = (PRICES, SENTIMENT_STATE, ELAPSED_S)

SENTIMENT: Final = Model("sentiment", (TEXT,), _SENTIMENT_OUT + _ABOUT)
PRICE_FORECAST: Final = Model(
    "price_forecast", _WINDOW, _FORECAST_OUT + _ABOUT, rows_per_request=256
)
MARKET_VIEW: Final = Model(
    "market_view",
    (TEXT, *_WINDOW),
    (*_SENTIMENT_OUT, *_FORECAST_OUT, NEXT_SENTIMENT_STATE, *_ABOUT),
)
EMBEDDING_MODEL: Final = Model(
    "embedding", (TEXT,), (EMBEDDING, TOKENS, TRUNCATED, *_ABOUT)
)

STAGES_OF: Final = MappingProxyType(
    {
        SENTIMENT.name: STAGES[:-1],
        EMBEDDING_MODEL.name: STAGES[:-1],
        MARKET_VIEW.name: STAGES,
        PRICE_FORECAST.name: STAGES[-1:],
    }
)
"""Of each public model, which stage each value of ``STAGE_US`` is of."""

PUBLIC_MODELS: Final = (SENTIMENT, PRICE_FORECAST, MARKET_VIEW)
"""What a client may rely on; the steps behind them: ``megatick_contract.steps``."""

OPTIONAL_MODELS: Final = (EMBEDDING_MODEL,)
"""Public as well, in a repository that was exported with them."""
