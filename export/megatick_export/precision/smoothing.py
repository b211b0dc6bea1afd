"""How to spread a product's input, so that INT8 rounds it better.

A few channels of a transformer's activations are many times as large as the others, and
what shares their scale is rounded by their step.  Dividing channel j of the input by s_j
and multiplying the weight's j-th input channel with it is the same product, whose input is
easier to round and whose weight is a little harder:

    s_j = max |x_j|^a / max |w_j|^(1 - a)

over calibration tokens and over the weight's output channels.  No one exponent suits all
products, so each gets that of ``EXPONENTS`` with the least error, or none.

Source: Xiao et al. 2023, SmoothQuant, equation 4.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import onnx
from onnx import numpy_helper

from megatick_contract.cpu_engine import input_group
from megatick_export.evaluation import Float32Array
from megatick_export.parity import Rows, openvino_values
from megatick_export.precision.int8 import products, to_int8

EXPONENTS: Final = (0.5, 0.65, 0.8)
"""To choose from; on the default model the best are 0.5 to 0.8, or no smoothing."""

_EVERY: Final = 8
"""One of so many tokens is one that each product's error is measured on."""

_SMALLEST: Final = 1e-5
"""Of a largest value, in place of 0, which has neither scale nor logarithm."""


def smoothing(
    graph: Path, batches: Iterable[Rows], *, keep: Collection[str] = ()
) -> dict[str, Float32Array]:
    """Run text through a float32 graph, and choose what each product's input is divided by.

    Args:
        graph: a packed ONNX file in float32, weights included.
        batches: tokens of the calibration texts, a packed batch at a time.
        keep: names of weights that stay in float32.

    Returns:
        By a weight's name, float32, shape (in,), > 0; no entry where it is best not to.
        ``quantize_int8`` takes it.
    """
    model = onnx.load(str(graph))
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    found = {each.weight: each for each in products(model) if each.weight not in keep}
    inputs = _inputs(graph, sorted({each.given for each in found.values()}), batches)
    group = input_group(inputs[each.given].width for each in found.values())
    best = {
        name: _best(
            numpy_helper.to_array(tensors[name]), each.axis, inputs[each.given], group
        )
        for name, each in found.items()
    }
    return {name: divisor for name, divisor in best.items() if divisor is not None}


@dataclass
class _Input:
    """What a product was given.

    Attributes:
        largest: absolute value of each channel, over all tokens, shape (width,).
        samples: some tokens of each run, float32, shape (tokens, width).
    """

    largest: Float32Array
    samples: list[Float32Array]

    @property
    def width(self) -> int:
        """Channels."""
        return len(self.largest)


def _inputs(
    graph: Path, names: Sequence[str], batches: Iterable[Rows]
) -> dict[str, _Input]:
    """Run text, and look at values inside of the graph by their names."""
    run = openvino_values(graph, names, precision="fp32")
    found: dict[str, _Input] = {}
    for batch in batches:
        answer = run(batch)
        for name in names:
            given = answer[name].reshape(-1, answer[name].shape[-1])
            largest = np.maximum(np.abs(given).max(0), _SMALLEST)
            each = found.setdefault(name, _Input(largest, []))
            each.largest = np.maximum(each.largest, largest)
            each.samples.append(given[::_EVERY].copy())
    return found


def _best(
    weight: Float32Array, axis: int, given: _Input, group: int
) -> Float32Array | None:
    """Choose a product's divisor by the error of its outputs, each token counting alike."""
    rows = weight if axis == 0 else weight.T  # (out, in)
    tokens = np.concatenate(given.samples)
    exact = tokens @ rows.T
    length = np.maximum(np.square(exact).sum(1), _SMALLEST)
    reach = np.maximum(np.abs(rows).max(0), _SMALLEST)

    def error(divisor: Float32Array) -> float:
        found = _in_groups(tokens / divisor, group) @ _in_groups(rows * divisor, None).T
        return float((np.square(found - exact).sum(1) / length).mean())

    best, least = None, error(np.ones_like(reach))
    for exponent in EXPONENTS:
        divisor = given.largest**exponent / reach ** (1 - exponent)
        divisor /= np.exp(np.log(divisor).mean())  # so that the weights keep their size
        if (found := error(divisor)) < least:
            best, least = divisor, found
    return best


def _in_groups(values: Float32Array, group: int | None) -> Float32Array:
    """Round each row to INT8, with a scale for each group of its channels, and back."""
    rows, width = values.shape
    group = group or width
    whole = np.pad(values, ((0, 0), (0, -width % group)))  # the last may be cut short
    parts = whole.reshape(rows, -1, group)
    steps, scale = to_int8(parts, -1)
    rounded: Float32Array = (steps * scale).reshape(rows, -1)[:, :width]
    return rounded
