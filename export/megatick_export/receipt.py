"""What was exported, from what, by what, and the evidence that it is the same model."""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import math
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from megatick_export.checkpoint import Architecture
from megatick_export.heads import Prompt
from megatick_export.options import Precision, Target
from megatick_export.parity import Comparison
from megatick_export.precision.trials import Trial

_PACKAGES: Final = (
    "megatick",
    "torch",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "regex",
    "sentencepiece",
    "tokenizers",
    "numpy",
)
_COMPILERS: Final = ("tensorrt", "tensorrt-cu12", "tensorrt-cu13", "tensorrt-rtx")
"""Compilers for GPUs.  Exporting needs none of them: those installed are named."""

_CPUINFO: Final = Path("/proc/cpuinfo")
_INSTRUCTIONS: Final = (
    "amx_bf16",
    "amx_int8",
    "avx512_bf16",
    "avx512_vnni",
    "avx512f",
    "avx_vnni",
    "avx2",
)
"""Flags of Linux' /proc/cpuinfo that decide which precision pays, the strongest first."""


@dataclass(frozen=True)
class Source:
    """The checkpoint that was read.

    Attributes:
        path: folder of the iteration.
        layout: how it was stored.
        iteration: of the training run, if it is known.
        parameters: numbers in the model, the head included.
        files: SHA-256 of each file that was read, by path relative to that folder.
    """

    path: str
    layout: str
    iteration: int | None
    parameters: int
    files: Mapping[str, str]


@dataclass(frozen=True)
class Receipt:
    """The contents of ``receipt.json``.

    Attributes:
        model_digest: SHA-256 over the names and hashes in ``files``; every reply can
            carry it.
        created_utc: ISO 8601.
        command: what was typed, if a command was.
        target: what runs it.
        checkpoint: what was read.
        tokenizer: its files with their SHA-256, and how it was proven.
        forecaster: SHA-256, what it was fitted on, and its edge per horizon; None where
            no server is written.
        architecture: of the model, head included.
        labels: the classes, in the order of the logits.
        checkpoint_labels: meaning of the checkpoint's class rows, in its own order.
        prompt: what stands around every text, where the classes are the model's own words.
        embedding: the graph answers with the pooled hidden state as well.
        precision: what the exported graph computes in.
        max_tokens: longest row the model reads.
        parity: each way of running the float32 graph against the reference network.
        evaluation: the texts that the precisions were measured on.
        flip_budget: share of labels that a precision may change.
        score_budget: mean change of the score that it may cause.
        trials: every precision that was tried, the rejected as well.
        tolerances: how far a server's answers to the probe may be from float32's, by what
            they are: ``probability``, and ``embedding`` where there is one.
        layer_errors: relative error of the residual stream after each layer, of the
            chosen graph against the reference network; None where nothing here runs it.
        files: SHA-256 of each file of the repository, by path relative to it; this one,
            its page and the digest's own are left out.
        versions: of what made it, and of the compilers for GPUs that were installed.
        machine: processor and system that made it.
    """

    model_digest: str
    created_utc: str
    command: tuple[str, ...] | None
    target: Target
    checkpoint: Source
    tokenizer: Mapping[str, Any]
    forecaster: Mapping[str, Any] | None
    architecture: Architecture
    labels: tuple[str, ...]
    checkpoint_labels: tuple[str, ...]
    prompt: Prompt | None
    embedding: bool
    precision: Precision
    max_tokens: int
    parity: tuple[Comparison, ...]
    evaluation: Mapping[str, Any]
    flip_budget: float
    score_budget: float
    trials: tuple[Trial, ...]
    tolerances: Mapping[str, float]
    layer_errors: tuple[float, ...] | None
    files: Mapping[str, str]
    versions: Mapping[str, str]
    machine: str

    def to_json(self) -> str:
        """Write the receipt as indented JSON; figures that are no numbers are null."""
        return json.dumps(_without_nan(asdict(self)), indent=2, allow_nan=False) + "\n"


def versions() -> dict[str, str]:
    """Versions of Python, of the packages that took part, and of installed compilers."""
    found = {"python": platform.python_version()}
    found |= {name: importlib.metadata.version(name) for name in _PACKAGES}
    for name in _COMPILERS:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def machine() -> str:
    """Name the processor, which of the instructions it has that decide, and the system.

    A virtual machine's processor is often called by its maker's name alone.
    """
    processor = platform.processor() or platform.machine()
    if _CPUINFO.exists():
        cpu = dict(_pairs(_CPUINFO.read_text()))
        processor = cpu.get("model name", processor)
        has = [each for each in _INSTRUCTIONS if each in cpu.get("flags", "").split()]
        if has:
            processor += f" ({', '.join(has)})"
    return f"{processor}, {platform.system()} {platform.machine()}"


def _pairs(cpuinfo: str) -> Iterator[tuple[str, str]]:
    for line in cpuinfo.splitlines():
        name, _, value = line.partition(":")
        yield name.strip(), value.strip()


def _without_nan(value: Any) -> Any:
    """Put None for what JSON has no number for: an overflow's NaN and infinity."""
    if isinstance(value, Mapping):
        return {name: _without_nan(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
