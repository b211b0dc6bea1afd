"""Where along the layers a graph departs from the reference network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch

from megatick_contract.cpu_engine import CpuPrecision
from megatick_contract.packing import layer_output, packed_feed
from megatick_export.network import Network
from megatick_export.parity import Rows, onnxruntime_session, openvino_values

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


def reference_streams(
    network: Network, rows: Rows, *, prefix_ids: Sequence[int] = ()
) -> Streams:
    """Run the reference network row by row, unpacked, and look at every layer.

    Args:
        network: in float32.
        rows: int32 tokens of each row.
        prefix_ids: tokens that stand before every row; what they give is left out.
    """
    prefix = torch.tensor(prefix_ids, dtype=torch.int64)
    first = 0 if network.architecture.pooling == "first" else -1
    found: list[list[torch.Tensor]] = [[] for _ in network.layers]
    with torch.inference_mode():
        for row in rows:
            ids = torch.cat((prefix, torch.from_numpy(row).long()))[None]
            for layer, hidden in enumerate(network.hidden_states(ids)):
                found[layer].append(hidden[0, len(prefix) :])
    *earlier, last = found
    pooled = torch.stack([hidden[first] for hidden in last])
    return [*(torch.cat(each).numpy() for each in earlier), pooled.numpy()]


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


def openvino_streams(
    graph: Path, layers: int, rows: Rows, *, precision: CpuPrecision
) -> Streams:
    """Run one batch in OpenVINO and look at every layer; arguments as above."""
    answer = openvino_values(graph, _names(layers), precision=precision)(rows)
    return _in_order([answer[name] for name in _names(layers)])


def _names(layers: int) -> list[str]:
    return [layer_output(layer) for layer in range(layers)]


def _in_order(arrays: Sequence[Any]) -> Streams:
    return [np.array(each) for each in arrays]
