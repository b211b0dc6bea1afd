"""How a checkpoint is to be served: what a caller may choose, checked at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import openvino

from megatick_contract import LABELS, Label
from megatick_export.errors import OptionsError

Precision = Literal["fp32", "bf16"]

DEFAULT_MAX_TOKENS: Final = 512
DEFAULT_MAX_BATCH_TOKENS: Final = 4096


@dataclass(frozen=True)
class ExportOptions:
    """How a checkpoint is to be served.

    Attributes:
        tokenizer: its file or folder; None takes the one beside the checkpoint.
        forecaster: a forecaster's file; None takes the random walk.
        labels: what the checkpoint's class rows mean, in its own order.
        precision: ``auto`` takes bf16 where this CPU has it, else fp32.
        max_tokens: longest row to read, in tokens, ≥ 1; the model's own window bounds it.
        max_batch_tokens: most tokens in one run of the engine, ≥ 1.

    Raises:
        OptionsError: a value that cannot be served.
    """

    tokenizer: Path | None = None
    forecaster: Path | None = None
    labels: tuple[Label, ...] = LABELS
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    max_tokens: int = DEFAULT_MAX_TOKENS
    max_batch_tokens: int = DEFAULT_MAX_BATCH_TOKENS

    def __post_init__(self) -> None:
        """Check what can be checked without the checkpoint."""
        if sorted(self.labels) != sorted(LABELS):
            raise OptionsError(
                "labels", expected=f"each of {', '.join(LABELS)} once", found=self.labels
            )
        for name in ("max_tokens", "max_batch_tokens"):
            if getattr(self, name) < 1:
                raise OptionsError(name, expected="at least 1", found=getattr(self, name))
        if self.forecaster is not None and not self.forecaster.is_file():
            raise OptionsError(
                "forecaster", expected="a forecaster's file", found=str(self.forecaster)
            )

    def choose_precision(self) -> Precision:
        """Settle ``auto``, and check that this CPU can measure what was asked for.

        Raises:
            OptionsError: bf16 was asked for, and this CPU has no such arithmetic.
        """
        if self.precision == "fp32":
            return "fp32"
        if cpu_has_bf16():
            return "bf16"
        if self.precision == "bf16":
            raise OptionsError(
                "precision",
                expected="fp32, or a CPU with bf16 arithmetic, which this one lacks, so "
                "that parity could not be measured",
                found=self.precision,
            )
        return "fp32"


def cpu_has_bf16() -> bool:
    """Whether OpenVINO finds bf16 arithmetic in this CPU."""
    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
