"""What may be said of a training run."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

TrainingPrecision = Literal["fp32", "bf16", "fp8"]


class TrainingOptions(BaseModel):
    """How to train; a run that was cut off only goes on with the same ones.

    Attributes:
        epochs: most times that every row is seen.
        batch_rows: rows of one step of the optimiser.
        max_batch_tokens: most tokens computed at once; a step's rows are cut into so many
            parts, and their gradients added up.
        max_tokens: longest row to read, in tokens.
        learning_rate: after the warm-up; it falls linearly to nothing.
        warm_up: share of the steps in which it rises from nothing, in [0, 1).
        weight_decay: of AdamW.
        gradient_norm: longer gradients are cut to this.
        lora_rank: of the adapters; 0 trains every weight.
        lora_alpha: their product is multiplied by alpha / rank.
        lora_dropout: share of their inputs left out, in [0, 1).
        symbol_dropout: share of the texts that lose their cashtags, hashtags and handles,
            others each epoch, in [0, 1].
        balanced: weigh each class by the inverse of its frequency.
        label_smoothing: share of each row's target that is spread over all classes alike,
            in [0, 1) (Szegedy et al., CVPR 2016, arXiv:1512.00567, section 7).
        precision: of the matrix products; norms, softmax, loss and optimiser are float32.
            With fp8, those of adapters, attention and head, and all of a look at the dev
            rows, are in bf16.
        evaluations: looks at the dev rows in an epoch, at even distances.
        patience: looks without a better macro-F1 after which training stops.
        seed: of the order, the dropout and the adapters.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    epochs: int = Field(default=3, ge=1)
    batch_rows: int = Field(default=32, ge=1)
    max_batch_tokens: int = Field(default=2048, ge=1)
    max_tokens: int = Field(default=128, ge=1)
    learning_rate: float = Field(default=4e-4, gt=0)
    warm_up: float = Field(default=0.06, ge=0, lt=1)
    weight_decay: float = Field(default=0.01, ge=0)
    gradient_norm: float = Field(default=1.0, gt=0)
    lora_rank: int = Field(default=16, ge=0)
    lora_alpha: float = Field(default=32.0, gt=0)
    lora_dropout: float = Field(default=0.05, ge=0, lt=1)
    symbol_dropout: float = Field(default=0.0, ge=0, le=1)
    balanced: bool = False
    label_smoothing: float = Field(default=0.0, ge=0, lt=1)
    precision: TrainingPrecision = "fp32"
    evaluations: int = Field(default=2, ge=1)
    patience: int = Field(default=4, ge=1)
    seed: int = Field(default=0, ge=0)
