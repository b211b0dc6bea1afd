"""The packed language model on the CPU: OpenVINO, one compiled graph, any rows."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from megatick_contract.cpu_engine import (
    CpuPrecision,
    cpu_capabilities,
    openvino_core,
    openvino_options,
    read_graph,
)
from megatick_contract.packing import packed_feed
from megatick_server.errors import ArtefactError

if TYPE_CHECKING:
    import openvino as ov

Float32Array = npt.NDArray[np.float32]


def compile_graph(path: Path, *, precision: CpuPrecision, threads: int) -> ov.CompiledModel:
    """Compile a graph for this machine's CPU.

    Args:
        path: an ONNX file.
        precision: what the matrix products run in.
        threads: CPU threads, ≥ 1.

    Raises:
        ArtefactError: the file is absent, corrupt, or asks for a precision that this CPU
            does not have.
    """
    capabilities = cpu_capabilities()
    if precision == "bf16" and "BF16" not in capabilities:
        raise ArtefactError(
            path,
            "was exported for bf16, and this CPU has no bf16 arithmetic "
            f"({', '.join(capabilities)}): export it with --precision fp32",
        )
    try:
        model = read_graph(_whole(path), precision)
        return openvino_core().compile_model(
            model,
            "CPU",
            {
                **openvino_options(precision, model),
                "INFERENCE_NUM_THREADS": str(threads),
                "PERFORMANCE_HINT": "LATENCY",
            },
        )
    except RuntimeError as error:
        raise ArtefactError(path, f"OpenVINO cannot compile it: {error}") from error


def _whole(path: Path) -> Path:
    """Follow the links to a graph whose weights are a second file.

    OpenVINO refuses a second file that is a link to another folder than its own.
    """
    return path.resolve() if path.with_name(f"{path.name}.data").exists() else path


class PackedEngine:
    """A packed classifier graph, compiled for this machine's CPU.

    Attributes:
        outputs: names of what it gives: ``logits``, and ``embedding`` where exported.
        padding_tokens: tokens of no row that it has run, so far.
    """

    def __init__(
        self,
        path: Path,
        *,
        precision: CpuPrecision,
        threads: int,
    ) -> None:
        """Compile the graph.

        Args:
            path: the packed ONNX file.
            precision: what the matrix products run in.
            threads: CPU threads, ≥ 1.

        Raises:
            ArtefactError: the file is absent, corrupt, or asks for a precision that
                this CPU does not have.
        """
        compiled = compile_graph(path, precision=precision, threads=threads)
        self._request = compiled.create_infer_request()
        self.padding_tokens = 0
        self.outputs = frozenset(name for port in compiled.outputs for name in port.names)

    def run(
        self, rows: Sequence[npt.NDArray[np.int32]], wanted: Collection[str]
    ) -> dict[str, Float32Array]:
        """Run rows of tokens together, and copy out what is wanted.

        Args:
            rows: int32, each of shape (tokens,), tokens ≥ 1.
            wanted: names of outputs; what the graph does not give is left out.

        Returns:
            Of each, float32, shape (len(rows), classes) or (len(rows), hidden), in the
            rows' order.
        """
        feed = packed_feed(rows)
        # Shared: they are views of OpenVINO's memory, until the next run.
        answer = self._request.infer(feed, share_outputs=True)
        self.padding_tokens += len(feed["input_ids"]) - sum(map(len, rows))
        return {name: answer[name].copy() for name in self.outputs.intersection(wanted)}
