"""How a checkpoint is to be served: what a caller may choose, checked at once."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from megatick_contract import LABELS
from megatick_contract.cpu_engine import cpu_has_bf16
from megatick_export.engine.run import gpu_library
from megatick_export.errors import EngineError, OptionsError

Precision = Literal["fp32", "fp16", "bf16", "int8", "fp8"]
Target = Literal["cpu", "tensorrt", "onnx"]

PRECISIONS: Final[dict[Target, tuple[Precision, ...]]] = {
    "cpu": ("fp32", "bf16", "int8"),
    "tensorrt": ("fp32", "fp16", "bf16", "fp8"),
    "onnx": ("fp32", "fp16", "bf16", "int8", "fp8"),
}
"""What each target can run."""

DEFAULT_MAX_TOKENS: Final = 512
DEFAULT_MAX_BATCH_TOKENS: Final[dict[Target, int]] = {
    "cpu": 512,
    "tensorrt": 4096,
    "onnx": 512,
}
"""More than 512 does not make a CPU faster (docs/benchmarks.md), and a text that comes
while a run goes on waits for its end; a GPU wants more work at once."""

MAX_BACKFILL_TOKENS: Final = 128
"""Of one run in which no live text is: one that comes meanwhile waits a fifth as long."""
DEFAULT_FLIP_BUDGET: Final = 0.002
DEFAULT_SCORE_BUDGET: Final = 0.01


@dataclass(frozen=True)
class ExportOptions:
    """How a checkpoint is to be served.

    Attributes:
        target: what runs it: OpenVINO on CPUs, TensorRT on NVIDIA GPUs (both behind
            Triton), or ``onnx`` for a bare graph.
        tokenizer: a tokenizer's file or folder; None takes the one beside the checkpoint.
        forecaster: a forecaster's file; None takes the shipped one.
        labels: what the class rows mean, in the checkpoint's own order; for ``cpu`` and
            ``tensorrt`` the contract's three, for ``onnx`` any names.
        prompt: text with ``{text}``, to take classes from the model's own next word; None
            takes the checkpoint's classification head.
        verbalizers: with a prompt, the word that means each label.
        embedding: answer with the pooled hidden state as well: ``cpu`` and ``tensorrt``
            serve it as the model ``embedding``, ``onnx`` gives it as the graph's second
            output.
        precision: of the matrix products; ``auto`` takes the fastest within the budgets,
            by measurement on this machine.
        calibration: texts to measure on (see ``evaluation_texts``); None invents some.
        flip_budget: share of labels that a precision may change, in [0, 1].
        score_budget: mean absolute change of the score that it may cause, in [0, 2].
        fp8_attention: with ``fp8``, attention's own products take FP8 as well; on
            ``tensorrt`` attention then always computes ``max_tokens`` a row.
        max_tokens: longest row to read, in tokens, ≥ 1; the model's own window bounds it.
        max_batch_tokens: most tokens in one run of the engine, ≥ 1; None takes the
            target's default.

    Raises:
        OptionsError: a value that cannot be served.
    """

    target: Target = "cpu"
    tokenizer: Path | None = None
    forecaster: Path | None = None
    labels: tuple[str, ...] = LABELS
    prompt: str | None = None
    verbalizers: tuple[str, ...] | None = None
    embedding: bool = False
    precision: Precision | Literal["auto"] = "auto"
    calibration: Path | None = None
    flip_budget: float = DEFAULT_FLIP_BUDGET
    score_budget: float = DEFAULT_SCORE_BUDGET
    fp8_attention: bool = False
    max_tokens: int = DEFAULT_MAX_TOKENS
    max_batch_tokens: int | None = None

    def __post_init__(self) -> None:
        """Check what can be checked without the checkpoint."""
        self._check_labels()
        for name in ("max_tokens", "max_batch_tokens"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise OptionsError(name, expected="at least 1", found=value)
        for name, most in (("flip_budget", 1.0), ("score_budget", 2.0)):
            if not 0 <= getattr(self, name) <= most:
                raise OptionsError(
                    name, expected=f"0 to {most:g}", found=getattr(self, name)
                )
        if self.forecaster is not None and not self.forecaster.is_file():
            raise OptionsError(
                "forecaster", expected="a forecaster's file", found=str(self.forecaster)
            )
        if (self.prompt is None) != (self.verbalizers is None):
            missing = "verbalizers" if self.verbalizers is None else "prompt"
            raise OptionsError(
                missing, expected="both a prompt and its verbalizers", found=None
            )
        possible = PRECISIONS[self.target]
        if self.precision not in ("auto", *possible):
            raise OptionsError(
                "precision",
                expected=f"{', '.join(possible)} or auto for target {self.target}",
                found=self.precision,
            )
        if self.fp8_attention and self.precision != "fp8":
            raise OptionsError(
                "fp8_attention", expected="precision fp8 with it", found=self.precision
            )

    @property
    def tokens_per_run(self) -> int:
        """Most tokens in one run of the engine, chosen or the target's default."""
        return self.max_batch_tokens or DEFAULT_MAX_BATCH_TOKENS[self.target]

    def candidates(self) -> tuple[Precision, ...]:
        """List the precisions to measure, float32 first.

        Raises:
            OptionsError: bf16 was asked for on a CPU without it, or auto for TensorRT on
                a machine that cannot run a plan.
        """
        if self.precision != "auto":
            if self.precision == "bf16" and self.target == "cpu" and not cpu_has_bf16():
                raise OptionsError(
                    "precision",
                    expected="fp32, int8, or a CPU with bf16 arithmetic, which this one "
                    "lacks, so that it could not be measured",
                    found=self.precision,
                )
            return (self.precision,)
        if self.target == "tensorrt":
            _check_gpu()
        return tuple(
            each
            for each in PRECISIONS[self.target]
            if not (each == "bf16" and self.target == "cpu" and not cpu_has_bf16())
        )

    def _check_labels(self) -> None:
        if self.target != "onnx" and sorted(self.labels) != sorted(LABELS):
            raise OptionsError(
                "labels",
                expected=f"each of {', '.join(LABELS)} once (other classes: target onnx)",
                found=self.labels,
            )
        if len(set(self.labels)) < max(len(self.labels), 2):
            raise OptionsError("labels", expected="distinct names", found=self.labels)


def _check_gpu() -> None:
    """Refuse to compare speeds that this machine cannot measure."""
    try:
        gpu_library()
    except EngineError as error:
        names = ", ".join(PRECISIONS["tensorrt"])
        raise OptionsError(
            "precision",
            expected=f"one of {names} by name, or the GPU that will serve: for target "
            "tensorrt, auto builds a plan of each and takes the fastest, which cannot be "
            f"done here ({error})",
            found="auto",
        ) from error
