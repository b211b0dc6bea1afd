"""The packed language model on the CPU: OpenVINO, one compiled graph, any batch."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import openvino as ov

from megatick_contract.packing import packed_feed, plan_batches
from megatick_server.errors import ArtefactError

Float32Array = npt.NDArray[np.float32]
Precision = Literal["fp32", "bf16", "int8"]

_OPENVINO_OPTIONS: Final[dict[Precision, dict[str, str]]] = {
    # What parity was measured with: without the second option OpenVINO would quantise
    # products further on some CPUs.
    "fp32": {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"},
    "bf16": {"INFERENCE_PRECISION_HINT": "bf16", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "0"},
    "int8": {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": "32"},
}


class PackedEngine:
    """A packed classifier graph, compiled for this machine's CPU."""

    def __init__(
        self,
        path: Path,
        *,
        precision: Precision,
        max_batch_tokens: int,
        threads: int,
    ) -> None:
        """Compile the graph.

        Args:
            path: the packed ONNX file.
            precision: what the matrix products run in.
            max_batch_tokens: most tokens in one run of the graph.
            threads: CPU threads, ≥ 1.

        Raises:
            ArtefactError: the file is absent, corrupt, or asks for a precision that
                this CPU does not have.
        """
        core = ov.Core()
        capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
        if precision == "bf16" and "BF16" not in capabilities:
            raise ArtefactError(
                path,
                "was exported for bf16, and this CPU has no bf16 arithmetic "
                f"({', '.join(sorted(capabilities))}): export it with --precision fp32",
            )
        try:
            self._compiled = core.compile_model(
                str(path),
                "CPU",
                {
                    **_OPENVINO_OPTIONS[precision],
                    "INFERENCE_NUM_THREADS": str(threads),
                    "PERFORMANCE_HINT": "LATENCY",
                },
            )
        except RuntimeError as error:
            raise ArtefactError(path, f"OpenVINO cannot compile it: {error}") from error
        self._request = self._compiled.create_infer_request()
        self._max_batch_tokens = max_batch_tokens

    @property
    def outputs(self) -> frozenset[str]:
        """Names of what the graph gives: ``logits``, and ``embedding`` where exported."""
        return frozenset(name for port in self._compiled.outputs for name in port.names)

    def logits(self, rows: Sequence[npt.NDArray[np.int32]]) -> Float32Array:
        """Run rows of tokens, each of any length ≥ 1.

        Args:
            rows: int32, each of shape (tokens,).

        Returns:
            float32, shape (len(rows), classes), in the rows' order.
        """
        return self.run(rows, {"logits"})["logits"]

    def run(
        self, rows: Sequence[npt.NDArray[np.int32]], wanted: Collection[str]
    ) -> dict[str, Float32Array]:
        """Run rows of tokens, and copy out what is wanted of the graph's outputs.

        Args:
            rows: int32, each of shape (tokens,), tokens ≥ 1.
            wanted: names among ``outputs``.

        Returns:
            Of each, float32, shape (len(rows), classes) or (len(rows), hidden), in the
            rows' order.
        """
        lengths = [len(row) for row in rows]
        batches = plan_batches(lengths, max_batch_tokens=self._max_batch_tokens)
        results: dict[str, Float32Array] = {}
        for batch in batches:
            feed = packed_feed([rows[row] for row in batch])
            # Shared: they are views of OpenVINO's memory, until the next run.
            answer = self._request.infer(feed, share_outputs=True)
            for name in wanted:
                part = answer[name]
                if name not in results:
                    results[name] = np.empty((len(rows), *part.shape[1:]), np.float32)
                results[name][batch] = part
        return results
