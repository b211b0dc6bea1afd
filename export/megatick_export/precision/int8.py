"""The packed graph with the weights of its matrix products in int8.

Each weight is rounded on its own, symmetrically, one scale per output channel, and the
graph gets it back through a ``DequantizeLinear``: standard ONNX, which any runtime loads.
No calibration is needed, as nothing here touches the activations.  A runtime may then
multiply in int8 by quantising the activations as they come: OpenVINO does so on a CPU
with VNNI if ``DYNAMIC_QUANTIZATION_GROUP_SIZE`` is not 0 and the precision hint is f32.

It costs accuracy, which a model's own parity has to judge: of 1,000 financial sentences,
SmolLM2-135M, its classification head kept in float32, labels 22 otherwise than in float32
from the rounded weights alone, and 38 with activations quantised in groups of 32; bf16
does 13.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from megatick_export.errors import QuantizationError

_LARGEST: Final = 127
"""-128 is not used, so that the grid is symmetric and needs no zero point."""


@dataclass(frozen=True)
class Quantized:
    """What became of the weights of the matrix products.

    Attributes:
        int8: names of those that are int8 in the file, in the graph's order.
        kept: names of those that are float32 still, in the graph's order.
    """

    int8: tuple[str, ...]
    kept: tuple[str, ...]


def quantize_int8(graph: Path, out: Path, *, keep: Collection[str] = ()) -> Quantized:
    """Write the graph anew, its matrix products' weights in int8.

    Tables that are looked up in, norms and biases stay as they are, and so does a product
    of two activations.

    Args:
        graph: a packed ONNX file in float32, weights included.
        out: the file to write; it may be ``graph`` itself.
        keep: names of weights to leave in float32, as ``Quantized`` gives them.

    Returns:
        Which weights are int8, and which were kept.

    Raises:
        QuantizationError: a name of ``keep`` is no such weight, or the graph has none, or
            one of them is not finite float32.
    """
    model = onnx.load(str(graph))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    products = [
        node
        for node in model.graph.node
        if node.op_type in ("Gemm", "MatMul") and node.input[1] in tensors
    ]
    names = list(dict.fromkeys(node.input[1] for node in products))
    _check(names, keep, graph)
    dequantized: dict[str, Any] = {}  # a node for each weight, by its output
    for node in products:
        name = node.input[1]
        if name in keep:
            continue
        axis = _output_axis(node)
        output = f"{name}.dequantized.{axis}"
        node.input[1] = output
        if output in dequantized:  # a weight that two products share
            continue
        weight, scale = _rounded(numpy_helper.to_array(tensors[name]), axis, graph, name)
        parts = [f"{name}.int8.{axis}", f"{name}.scale.{axis}"]
        model.graph.initializer.append(numpy_helper.from_array(weight, parts[0]))
        model.graph.initializer.append(numpy_helper.from_array(scale, parts[1]))
        dequantized[output] = helper.make_node(
            "DequantizeLinear", parts, [output], axis=axis
        )
    nodes = [*dequantized.values(), *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    _drop_unused(model)
    onnx.checker.check_model(model)
    onnx.save(model, str(out))
    return Quantized(
        int8=tuple(name for name in names if name not in keep),
        kept=tuple(name for name in names if name in keep),
    )


def _check(names: Sequence[str], keep: Collection[str], graph: Path) -> None:
    if not names:
        raise QuantizationError(
            graph,
            expected="products with float32 weights",
            found="none: it may be quantised already",
        )
    unknown = sorted(set(keep) - set(names))
    if unknown:
        raise QuantizationError(
            graph,
            expected=f"weights to keep from among {', '.join(names)}",
            found=", ".join(unknown),
        )


def _output_axis(node: Any) -> int:
    """The axis of a product's weight that the output's channels are counted on."""
    transposed = any(each.name == "transB" and each.i for each in node.attribute)
    return 0 if transposed else 1


def _rounded(
    weight: npt.NDArray[Any], axis: int, graph: Path, name: str
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round a matrix: int8 of its shape, and float32 scales, one for each of ``axis``."""
    if weight.ndim != 2 or weight.dtype != np.float32 or not np.isfinite(weight).all():
        raise QuantizationError(
            graph,
            expected=f"a finite float32 matrix as weight {name}",
            found=f"{weight.dtype} of shape {weight.shape}",
        )
    largest = np.abs(weight).max(axis=1 - axis)
    # A channel of zeros has no scale of its own; any scale gives it back.
    scale = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
    steps = np.rint(weight / np.expand_dims(scale, 1 - axis))
    rounded = np.clip(steps, -_LARGEST, _LARGEST).astype(np.int8)
    return rounded, scale


def _drop_unused(model: Any) -> None:
    """Leave out the weights that nothing reads any more."""
    read = {name for node in model.graph.node for name in node.input}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
