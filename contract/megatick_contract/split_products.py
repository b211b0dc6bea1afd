"""Products whose result is split, computed apart instead, in OpenVINO's graph."""

from __future__ import annotations

from itertools import pairwise
from typing import Final

import numpy as np
import openvino
from openvino import opset13 as opset

_ELEMENTWISE: Final = {
    "Add": opset.add,
    "Convert": opset.convert,
    "Multiply": opset.multiply,
    "Subtract": opset.subtract,
}


def part_split_products(model: openvino.Model) -> None:
    """Compute the parts of a split product apart, as a gated MLP's gate and its input are.

    Nothing is then cut and copied, and the gate is activated where its product is computed
    (docs/decisions/0014).

    Args:
        model: to change.  What is split without being a product of constant weights, or
            along another axis than its last, stays.
    """
    for split in model.get_ordered_ops():
        if split.get_type_name() != "Split":
            continue
        whole = split.input_value(0)
        shape = whole.get_partial_shape()
        if shape.rank.is_dynamic or shape[-1].is_dynamic:
            continue
        last = len(shape) - 1
        if split.input_value(1).get_node().get_data() not in (-1, last):
            continue
        width = shape[-1].get_length()
        edges = range(0, width + 1, width // split.get_output_size())
        parts = [_part(whole, -1, slice(*edge)) for edge in pairwise(edges)]
        for output, part in zip(split.outputs(), parts, strict=True):
            if part is not None:
                output.replace(part)


def _part(whole: openvino.Output, axis: int, of_axis: slice) -> openvino.Output | None:
    """Compute a part of a product with constant weights; None of anything else.

    Args:
        whole: a product, perhaps scaled and shifted by constants; or its weights, INT8
            with their scales perhaps.
        axis: -1, or 0 of weights [out, in].
        of_axis: what to keep of it.
    """
    node = whole.get_node()
    kind, given = node.get_type_name(), node.input_values()
    if kind == "Reshape" and given[0].get_node().get_type_name() == "Constant":
        node, kind = given[0].get_node(), "Constant"  # the scales of INT8 weights
    if kind == "Constant":
        numbers = node.get_data().reshape(whole.get_shape())
        if numbers.ndim and numbers.shape[axis] > 1:
            numbers = numbers[of_axis] if axis == 0 else numbers[..., of_axis]
        return opset.constant(np.ascontiguousarray(numbers)).output(0)
    if kind == "MatMul" and axis == -1:
        turned = node.get_attributes()
        weights = _part(given[1], 0 if turned["transpose_b"] else -1, of_axis)
        return weights and opset.matmul(given[0], weights, **turned).output(0)
    if kind not in _ELEMENTWISE:
        return None
    parts = [_part(each, axis, of_axis) for each in given]
    if None in parts:
        return None
    if kind == "Convert":
        return opset.convert(parts[0], whole.get_element_type()).output(0)
    return _ELEMENTWISE[kind](*parts).output(0)
