"""Where along the layers a precision departs from float32."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino

from megatick_contract.packing import packed_feed
from megatick_export.parity import Rows, onnxruntime_session, openvino_options
from megatick_export.to_onnx import layer_output

Streams = Sequence[np.ndarray[Any, Any]]
"""The residual stream after each layer, [tokens, hidden]; the last layer's is [rows, …]."""


def layer_errors(streams: Streams, reference: Streams) -> tuple[float, ...]:
    """Relative error of the residual stream after each layer.

    Returns:
        For each layer the root mean square of the difference over that of the reference;
        dimensionless.
    """
    return tuple(
        float(np.sqrt(np.square(found - wide).mean() / np.square(wide).mean()))
        for found, wide in zip(
            (each.astype(np.float64) for each in streams),
            (each.astype(np.float64) for each in reference),
            strict=True,
        )
    )


def onnxruntime_streams(graph: Path, layers: int, rows: Rows) -> Streams:
    """Run one batch in onnxruntime and look at every layer.

    Args:
        graph: an ONNX file that ``to_onnx`` wrote; a copy is made beside it for the while.
        layers: how many it has.
        rows: the batch.
    """
    model = onnx.load(str(graph), load_external_data=False)
    model.graph.output.extend(map(onnx.helper.make_empty_tensor_value_info, _names(layers)))
    copy = graph.with_name(f"{graph.stem}.layers.onnx")
    try:
        onnx.save(model, str(copy))
        return _in_order(onnxruntime_session(copy).run(_names(layers), packed_feed(rows)))
    finally:
        copy.unlink(missing_ok=True)


def openvino_streams(graph: Path, layers: int, rows: Rows, *, precision: str) -> Streams:
    """Run one batch in OpenVINO and look at every layer; arguments as above."""
    core = openvino.Core()
    model = core.read_model(str(graph))
    for name in _names(layers):
        model.add_outputs(name)
    compiled = core.compile_model(model, "CPU", openvino_options(precision))
    answer: Mapping[str, Any] = compiled(packed_feed(rows))
    return _in_order([answer[name] for name in _names(layers)])


def _names(layers: int) -> list[str]:
    return [layer_output(layer) for layer in range(layers)]


def _in_order(arrays: Sequence[Any]) -> Streams:
    return [np.array(each) for each in arrays]
