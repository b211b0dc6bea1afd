"""Is the exported graph the same model?  The same ragged rows, run every way there is."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import openvino
import torch

from megatick_export.errors import ExportError
from megatick_export.network import Network

Rows = Sequence[npt.NDArray[np.int32]]
Logits = npt.NDArray[np.float32]

SEED: Final = 0
ROWS: Final = 64
MEAN_TOKENS: Final = 25
"""Financial headlines are short: about 25 tokens, 5 to 120."""

FP32_TOLERANCE: Final = 1e-3
"""Largest absolute difference of a logit that float32 rounding may explain.  A wrong
GELU is 3e-3 apart, a wrong QKV order more than 1."""


@dataclass(frozen=True)
class Comparison:
    """How far one way of running the graph is from the reference network.

    Attributes:
        engine: what ran the graph, and in which precision.
        max_abs_diff: largest absolute difference of a logit.
        label_flips: rows whose most probable class differs.
        rows: rows compared.
    """

    engine: str
    max_abs_diff: float
    label_flips: int
    rows: int


class ParityError(ExportError):
    """The exported graph is not the checkpoint's model."""

    def __init__(self, comparison: Comparison, *, tolerance: float) -> None:
        super().__init__(
            f"{comparison.engine}: logits differ from the reference network by "
            f"{comparison.max_abs_diff:.2e}, expected at most {tolerance:.0e}; "
            "nothing was written.  This is a fault of the export: please report it with "
            "the output of `megatick inspect`"
        )
        self.comparison = comparison


def ragged_rows(*, vocab_size: int, max_tokens: int) -> list[npt.NDArray[np.int32]]:
    """Draw rows of random tokens whose lengths are spread like headlines'.

    Returns:
        ``ROWS`` int32 arrays; the first three hold 1 token, 2, and the window's full
        length (at most 256), the others 5 to 120 around a mean of 25.
    """
    random = np.random.default_rng(SEED)
    lengths = np.clip(random.gamma(3, MEAN_TOKENS / 3, ROWS), 5, 120).astype(int)
    lengths[:3] = (1, 2, 256)
    lengths = np.minimum(lengths, max_tokens)
    return [random.integers(0, vocab_size, n).astype(np.int32) for n in lengths]


def packed_feed(rows: Rows) -> dict[str, npt.NDArray[np.int32]]:
    """Feed of the packed graph for these rows."""
    lengths = np.array([len(row) for row in rows], np.int32)
    return {
        "input_ids": np.concatenate(rows),
        "row_lengths": lengths,
        "max_seqlen": np.zeros(lengths.max(), np.int32),
    }


def reference_logits(network: Network, rows: Rows) -> Logits:
    """Logits of the reference network, row by row without any padding: (rows, classes)."""
    with torch.inference_mode():
        logits = [network(torch.from_numpy(row).long()[None]) for row in rows]
    return torch.cat(logits).numpy()


def onnxruntime_engine(path: Path) -> Callable[[Rows], Logits]:
    """Load the packed graph into onnxruntime, float32 on the CPU."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(rows: Rows) -> Logits:
        (logits,) = session.run(["logits"], packed_feed(rows))
        return np.asarray(logits, np.float32)

    return run


def openvino_engine(path: Path, *, precision: str) -> Callable[[Rows], Logits]:
    """Load the packed graph into OpenVINO on the CPU, as the server does.

    Args:
        path: the packed ONNX file.
        precision: OpenVINO's name: ``f32`` or ``bf16``.
    """
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": precision,
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", options)

    def run(rows: Rows) -> Logits:
        return np.array(compiled(packed_feed(rows))["logits"], np.float32)

    return run


def compare(engine: str, logits: Logits, reference: Logits) -> Comparison:
    """Compare an engine's logits with the reference network's, shape (rows, classes)."""
    return Comparison(
        engine=engine,
        max_abs_diff=float(np.abs(logits - reference).max()),
        label_flips=int((logits.argmax(-1) != reference.argmax(-1)).sum()),
        rows=len(reference),
    )
