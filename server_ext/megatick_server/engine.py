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
    served_input_group,
)
from megatick_contract.packing import packed_feed
from megatick_contract.repository import SETTINGS_FILE
from megatick_server.errors import ArtefactError

if TYPE_CHECKING:
    import openvino as ov

Float32Array = npt.NDArray[np.float32]


def compile_graph(
    path: Path, *, precision: CpuPrecision, threads: int, input_group: int | None = None
) -> ov.CompiledModel:
    """Compile a graph for this machine's CPU.

    Args:
        path: an ONNX file.
        precision: what the matrix products run in.
        threads: CPU threads, ≥ 1.
        input_group: channels that shared a scale where INT8 was measured; None where that
            is not stated.

    Raises:
        ArtefactError: the file is absent or corrupt, asks for a precision that this CPU
            does not have, or was measured in INT8 in other groups than it would run in.
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
        if precision == "int8":
            _check_group(path, served_input_group(model), input_group)
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


def _check_group(path: Path, served: int, measured: int | None) -> None:
    """Refuse an INT8 graph that would give other answers than were measured at export."""
    if measured == served:
        return
    stated = f"states {measured}" if measured else "does not state it"
    raise ArtefactError(
        path,
        f"this version rounds its inputs to INT8 in groups of {served} channels; expected "
        f"input_group {served} in the {SETTINGS_FILE} beside it, which says in what groups "
        f"the export was measured, and it {stated}: export it again, or serve it with the "
        "version that exported it",
    )


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
        input_group: int | None = None,
    ) -> None:
        """Compile the graph, as ``compile_graph`` does.

        Raises:
            ArtefactError: it says of what.
        """
        compiled = compile_graph(
            path, precision=precision, threads=threads, input_group=input_group
        )
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
