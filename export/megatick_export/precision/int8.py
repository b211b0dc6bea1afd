"""The packed graph with the weights of its matrix products in int8.

Each weight is rounded on its own, symmetrically, one scale per output channel, and the
graph gets it back through a ``DequantizeLinear``: standard ONNX, which any runtime loads.
A runtime may then multiply in int8 by quantising the activations as they come: OpenVINO
does so on a CPU with VNNI if ``DYNAMIC_QUANTIZATION_GROUP_SIZE`` is not 0 and the precision
hint is f32.  ``smoothing`` says how to make that cost less accuracy.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
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


@dataclass(frozen=True)
class Product:
    """A matrix product with a constant weight.

    Attributes:
        node: its Gemm or MatMul.
        weight: the weight's name.
        axis: of the weight, on which the output's channels are counted.
    """

    node: Any
    weight: str
    axis: int

    @property
    def given(self) -> str:
        """The name of what is multiplied with the weight."""
        name: str = self.node.input[0]
        return name


def products(model: Any) -> list[Product]:
    """List a graph's products with constant weights, in its order.

    Args:
        model: an ``onnx.ModelProto``.
    """
    tensors = {tensor.name for tensor in model.graph.initializer}
    return [
        Product(node, node.input[1], _output_axis(node))
        for node in model.graph.node
        if node.op_type in ("Gemm", "MatMul") and node.input[1] in tensors
    ]


def quantize_int8(
    graph: Path,
    out: Path,
    *,
    keep: Collection[str] = (),
    smooth: Mapping[str, npt.NDArray[np.float32]] = MappingProxyType({}),
) -> Quantized:
    """Write the graph anew, its matrix products' weights in int8.

    Tables that are looked up in, norms and biases stay as they are, and so does a product
    of two activations.

    Args:
        graph: a packed ONNX file in float32, weights included.
        out: the file to write; it may be ``graph`` itself.
        keep: names of weights to leave in float32, as ``Quantized`` gives them.
        smooth: by a weight's name, what its product's input is divided by and the weight
            multiplied with, float32, shape (in,), > 0.

    Returns:
        Which weights are int8, and which were kept.

    Raises:
        QuantizationError: a name of ``keep`` is no such weight, or the graph has none, or
            one of them is not finite float32.
    """
    model = onnx.load(str(graph))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    by_output = {product.node.output[0]: product for product in products(model)}
    names = list(dict.fromkeys(product.weight for product in by_output.values()))
    _check(names, keep, graph)
    new: dict[str, npt.NDArray[Any]] = {}
    nodes: list[Any] = []
    for node in model.graph.node:
        product = by_output.get(node.output[0])
        if product is None or product.weight in keep:
            nodes.append(node)
            continue
        name, axis, divisor = product.weight, product.axis, smooth.get(product.weight)
        weight, scale = f"{name}.int8.{axis}", f"{name}.scale.{axis}"
        restored = f"{name}.dequantized.{axis}"
        if weight not in new:  # else another product shares it
            exact = numpy_helper.to_array(tensors[name])
            if divisor is not None:
                exact = exact * np.expand_dims(divisor, axis)
            new[weight], new[scale] = _rounded(exact, axis, graph, name)
            nodes.append(
                helper.make_node("DequantizeLinear", [weight, scale], [restored], axis=axis)
            )
        node.input[1] = restored
        if divisor is not None:
            factor, smoothed = f"{name}.smoothing", f"{node.output[0]}.smoothed"
            new[factor] = (1 / divisor).astype(np.float32)
            nodes.append(helper.make_node("Mul", [node.input[0], factor], [smoothed]))
            node.input[0] = smoothed
        nodes.append(node)
    model.graph.initializer.extend(
        numpy_helper.from_array(array, name) for name, array in new.items()
    )
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
    steps, scale = to_int8(weight, 1 - axis)
    return steps, scale.squeeze(1 - axis)


def to_int8(
    values: npt.NDArray[np.float32], axis: int
) -> tuple[npt.NDArray[np.int8], npt.NDArray[np.float32]]:
    """Round to INT8 symmetrically, with one scale for what lies along an axis.

    Returns:
        INT8 of the values' shape, and float32 scales of the same but for 1 on ``axis``;
        their product is what the values were rounded to.
    """
    largest = np.abs(values).max(axis=axis, keepdims=True)
    # Zeros have no scale of their own; any gives them back.
    scale = np.where(largest > 0, largest / _LARGEST, 1).astype(np.float32)
    steps = np.clip(np.rint(values / scale), -_LARGEST, _LARGEST).astype(np.int8)
    return steps, scale


def _drop_unused(model: Any) -> None:
    """Leave out the weights that nothing reads any more."""
    read = {name for node in model.graph.node for name in node.input}
    tensors = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(tensors)
