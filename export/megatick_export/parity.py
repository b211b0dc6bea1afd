"""Is the exported graph the same model?  The same ragged rows, run every way there is."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import openvino
import torch

from megatick_export.errors import ParityError
from megatick_export.network import Network
from megatick_export.options import Precision

Rows = Sequence[npt.NDArray[np.int32]]
Logits = npt.NDArray[np.float32]

SEED: Final = 0
ROWS: Final = 64
MEAN_TOKENS: Final = 25
"""Financial headlines are short: about 25 tokens, 5 to 120."""

FP32_TOLERANCE: Final = 1e-3
"""Largest absolute difference of a logit that float32 rounding may explain.  A wrong
GELU is 3e-3 apart, a wrong QKV order more than 1."""

MAX_FLIPPED_SHARE: Final = 0.1
"""Of random rows, whose classes are often close, in a lower precision.  SmolLM2-135M flips
2 of 64 in bf16; a graph that is broken flips most."""


@dataclass(frozen=True)
class Comparison:
    """How far one way of running the graph is from the reference network.

    Attributes:
        engine: what ran the graph, and in which precision.
        max_abs_diff: largest absolute difference of a class's logit; NaN if one is NaN.
        label_flips: rows whose most probable class differs.
        rows: rows compared.
    """

    engine: str
    max_abs_diff: float
    label_flips: int
    rows: int


def check(comparison: Comparison, *, exact: bool) -> Comparison:
    """Refuse an engine that is not the reference network.

    Args:
        comparison: of its logits.
        exact: it ran in float32, so that rounding alone may tell them apart; otherwise
            labels may flip, in rows whose classes are close.

    Returns:
        The comparison.

    Raises:
        ParityError: out of bounds, or not finite.
    """
    close = comparison.max_abs_diff <= FP32_TOLERANCE
    flips = comparison.label_flips <= MAX_FLIPPED_SHARE * comparison.rows
    finite = np.isfinite(comparison.max_abs_diff)
    if not (finite and flips and (close or not exact)):
        bound = f"within {FP32_TOLERANCE:.0e}" if exact else "finite"
        raise ParityError(
            comparison.engine,
            expected=f"{bound}, and at most {MAX_FLIPPED_SHARE:.0%} of the labels flipped,",
            found=f"a difference of {comparison.max_abs_diff:.2e}, and "
            f"{comparison.label_flips} of {comparison.rows} labels flipped",
        )
    return comparison


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
    """Load the packed graph into onnxruntime, float32 on the CPU.

    Since 1.29 its Linux builds report the models they load to their maker, unless this
    variable is set before they are imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])

    def run(rows: Rows) -> Logits:
        (logits,) = session.run(["logits"], packed_feed(rows))
        return np.asarray(logits, np.float32)

    return run


def openvino_engine(path: Path, *, precision: Precision) -> Callable[[Rows], Logits]:
    """Load the packed graph into OpenVINO on the CPU, in the server's precision.

    Args:
        path: the packed ONNX file.
        precision: of the matrix products.
    """
    options: dict[str, Any] = {
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0",
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", options)

    def run(rows: Rows) -> Logits:
        return np.array(compiled(packed_feed(rows))["logits"], np.float32)

    return run


def compare(engine: str, found: Logits, reference: Logits) -> Comparison:
    """Compare an engine's outputs with the reference's: logits or probabilities.

    Both have the shape (rows, classes).
    """
    return Comparison(
        engine=engine,
        max_abs_diff=float(np.abs(found - reference).max()),
        label_flips=int((found.argmax(-1) != reference.argmax(-1)).sum()),
        rows=len(reference),
    )


def prove(
    network: Network, graph: Path, *, precision: Precision, max_tokens: int
) -> tuple[Comparison, ...]:
    """Run the same ragged rows through every engine, the served one last.

    Args:
        network: the reference.
        graph: the packed ONNX file.
        precision: what is to be served.
        max_tokens: longest row that is served.

    Raises:
        ParityError: an engine is not the reference network.
    """
    rows = ragged_rows(vocab_size=network.architecture.vocab_size, max_tokens=max_tokens)
    reference = reference_logits(network, rows)
    engines: dict[str, Callable[[], Callable[[Rows], Logits]]] = {
        "onnxruntime fp32": lambda: onnxruntime_engine(graph),
        "openvino fp32": lambda: openvino_engine(graph, precision="fp32"),
        f"openvino {precision}": lambda: openvino_engine(graph, precision=precision),
    }
    return tuple(
        check(compare(name, load()(rows), reference), exact=name.endswith("fp32"))
        for name, load in engines.items()
    )
