"""The steps behind the public models, and what travels between them.

On a CPU one step does it all, ``scorer``: a hop between processes costs more than the small
steps compute.  A TensorRT engine is a step of its own, with steps before and behind it.
There a request of R rows of text becomes one ragged element on its way through the
language model: its tokens are one row of ``input_ids`` [1, N], its lengths one row of
``row_lengths`` [1, R], and one row of ``logits`` [1, R, 3] comes back, which is what
Triton's TensorRT backend can scatter; where the repository has the embedding, one row of
``embedding`` [1, R, hidden] likewise.  ``sentiment_scores`` turns that element into R
rows again, so whatever else it needs travels as one element too.  These names are private
to the server.
"""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType
from typing import Final

from megatick_contract.models import (
    MARKET_VIEW,
    MODEL_DIGEST,
    PRICE_FORECAST,
    SENTIMENT,
    STAGE_US,
    STAGES,
    Model,
)
from megatick_contract.prices import (
    ELAPSED_S,
    NEXT_SENTIMENT_STATE,
    PRICES,
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

INPUT_IDS: Final = Tensor("input_ids", "INT32", (ANY,), "[N] tokens, rows end to end")
ROW_LENGTHS: Final = Tensor("row_lengths", "INT32", (ANY,), "[R] tokens of each row")
LONGEST: Final = Tensor(
    "longest", "INT32", (ANY,), "[T] its length: max(row_lengths), or the engine's"
)
LOGITS: Final = Tensor("logits", "FP32", (ANY, 3), "[R, 3] unnormalised, in class order")
POOLED: Final = Tensor(
    "embedding", "FP32", (ANY, ANY), "[R, hidden] the rows' EMBEDDING, if exported"
)
"""A graph without it refuses a request that asks for it; the models that every repository
has never ask."""
STATE: Final = Tensor("state", "FP32", (ANY, 4), "[R, 4] the rows' SENTIMENT_STATE")
AGE_S: Final = Tensor("age_s", "FP32", (ANY, 1), "[R, 1] the rows' ELAPSED_S")
NEXT_STATE: Final = Tensor(
    "next_state", "FP32", (4,), "NEXT_SENTIMENT_STATE again, for the step that reads it"
)
"""Apart, since Triton 2.51 drops a step too early whose tensor is both an ensemble's
output and read by a step that nobody needs (docs/decisions/0006)."""
NEXT_ELAPSED_S: Final = Tensor(
    "next_elapsed_s", "FP32", (1,), "0: the next state is as of this text"
)
PREPROCESS_US: Final = Tensor("preprocess_us", "FP32", (1,), "microseconds in the step")
EARLIER_US: Final = Tensor(
    "earlier_us",
    "FP32",
    (len(STAGES) - 1,),
    "STAGE_US of the steps before this one",
    optional=True,
)

# A market view is checked whole before anything is computed, so the first step sees the
# prices too; a request for sentiment alone leaves them out.
_WINDOW: Final = tuple(
    replace(tensor, optional=True) for tensor in (PRICES, SENTIMENT_STATE, ELAPSED_S)
)

PREPROCESS: Final = Model(
    "preprocess",
    (TEXT, *_WINDOW),
    (
        INPUT_IDS,
        ROW_LENGTHS,
        LONGEST,
        TOKENS,
        TRUNCATED,
        STATE,
        AGE_S,
        PREPROCESS_US,
    ),
)
LANGUAGE_MODEL: Final = Model(
    "language_model",
    (INPUT_IDS, ROW_LENGTHS, LONGEST),
    (LOGITS, POOLED),
)
SENTIMENT_SCORES: Final = Model(
    "sentiment_scores",
    (
        LOGITS,
        PREPROCESS_US,
        *(replace(each, optional=True) for each in (STATE, AGE_S, POOLED)),
    ),
    (
        PROBABILITIES,
        SCORE,
        SCORE_TOLERANCE,
        EMBEDDING,
        NEXT_SENTIMENT_STATE,
        NEXT_STATE,
        NEXT_ELAPSED_S,
        MODEL_DIGEST,
        STAGE_US,
    ),
)
SCORER: Final = Model(
    "scorer",
    (TEXT, *_WINDOW),
    tuple(
        dict.fromkeys((*SENTIMENT.outputs, EMBEDDING, *MARKET_VIEW.outputs)),
    ),
)
"""All that is computed of a text, in one process, on a CPU."""

PRICE_FORECAST_STEP: Final = replace(
    PRICE_FORECAST, inputs=(*PRICE_FORECAST.inputs, EARLIER_US)
)
"""The public model with the one input that only an ensemble fills."""

TELL_THE_DIGEST: Final = MappingProxyType(
    {
        "cpu": (SCORER.name, PRICE_FORECAST.name),
        "tensorrt": (SENTIMENT_SCORES.name, PRICE_FORECAST.name),
    }
)
"""Of each target, the steps that answer with the digest of all that is served, from a file
of their own."""

STEPS: Final = (PREPROCESS, LANGUAGE_MODEL, SENTIMENT_SCORES, SCORER, PRICE_FORECAST_STEP)
