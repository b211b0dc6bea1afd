"""The wire that the parts of Megatick share: tensors, class order, horizons, models.

Nothing here computes a score.  Every ``config.pbtxt`` is held against this package by a
test, so a name or a shape is changed here first.
"""

from megatick_contract.errors import ContractError, MegatickError
from megatick_contract.models import (
    EMBEDDING_MODEL,
    MARKET_VIEW,
    OPTIONAL_MODELS,
    PRICE_FORECAST,
    PUBLIC_MODELS,
    SENTIMENT,
    STAGES,
    STAGES_OF,
    Model,
)
from megatick_contract.prices import HORIZONS_BARS, LEVELS, WINDOW_BARS
from megatick_contract.rejections import Rejection
from megatick_contract.tensors import Tensor
from megatick_contract.text import (
    LABELS,
    MAX_TEXT_BYTES,
    TRUNCATIONS,
    Label,
    Truncation,
)

__all__ = [
    "EMBEDDING_MODEL",
    "HORIZONS_BARS",
    "LABELS",
    "LEVELS",
    "MARKET_VIEW",
    "MAX_TEXT_BYTES",
    "OPTIONAL_MODELS",
    "PRICE_FORECAST",
    "PUBLIC_MODELS",
    "SENTIMENT",
    "STAGES",
    "STAGES_OF",
    "TRUNCATIONS",
    "WINDOW_BARS",
    "ContractError",
    "Label",
    "MegatickError",
    "Model",
    "Rejection",
    "Tensor",
    "Truncation",
]
