"""What a compiler made of the graph: which kernels, in which precision.

TensorRT and TensorRT-RTX describe an engine one line a layer, with the names of the ONNX
nodes that went into it.  The builder is silent about a linear layer that stays in FP16
because one quantisation is missing, so every one is looked up by name.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import onnx

from megatick_export.errors import EngineError

_LAYER: Final = re.compile(
    r"^\s*Name: (?P<name>.*?), LayerType: (?P<kind>\w+), Inputs: \[(?P<inputs>.*?)\]"
    r"(?:, Constants: \[(?P<constants>.*?)\])?, Outputs: \[(?P<outputs>.*?)\], "
    r"(?:ParameterType|TacticName|TacticValue)"
)
_TENSOR: Final = re.compile(r"Dimensions: \[(?P<dims>[-\d,]*)\].*?Datatype: (?P<type>\w+)")
_ORIGIN: Final = re.compile(r"\[ONNX Layer: ([^\]]+)\]")
_NAMES: Final = {"Float": "FP32", "Half": "FP16", "BFloat16": "BF16"}
_ATTENTION: Final = re.compile(r"mha|flash_attention", re.IGNORECASE)


@dataclass(frozen=True)
class EngineTensor:
    """A tensor at a layer of an engine: -1 for a dynamic axis; FP16, FP8, Int64, …."""

    dims: tuple[int, ...]
    precision: str


@dataclass(frozen=True)
class EngineLayer:
    """A layer of an engine.

    Attributes:
        name: the compiler's.
        kind: the compiler's, such as ``gemm``.
        inputs: what it reads.
        constants: weights and scales in it.
        origins: names of the ONNX nodes it computes.
    """

    name: str
    kind: str
    inputs: tuple[EngineTensor, ...]
    constants: tuple[EngineTensor, ...]
    origins: frozenset[str]


@dataclass(frozen=True)
class GraphLayers:
    """What the ONNX graph has: names of its linear layers, and attentions in number."""

    linears: tuple[str, ...]
    attentions: int


@dataclass(frozen=True)
class LayerReport:
    """What became of the graph's attentions and linear layers.

    Attributes:
        layers: of the engine.
        attentions: in the graph.
        fused_attentions: kernels of the engine that compute a whole attention.
        attention_precisions: how many of these kernels take each precision.
        linears: precision of each linear layer by its ONNX node's name; ``mixed`` where
            input and weight differ, ``unknown`` where no layer of the engine names it.
    """

    layers: int
    attentions: int
    fused_attentions: int
    attention_precisions: dict[str, int]
    linears: dict[str, str]

    @property
    def precisions(self) -> dict[str, int]:
        """How many linear layers have each precision."""
        return dict(Counter(self.linears.values()))


def report_layers(engine: Sequence[EngineLayer], graph: GraphLayers) -> LayerReport:
    """Look each of the graph's linear layers and attentions up in the engine."""
    fused = [layer for layer in engine if _ATTENTION.search(layer.name)]
    return LayerReport(
        layers=len(engine),
        attentions=graph.attentions,
        fused_attentions=len(fused),
        attention_precisions=dict(Counter(map(_attention_precision, fused))),
        linears={name: _precision(name, engine) for name in graph.linears},
    )


def read_engine_layers(description: str) -> tuple[EngineLayer, ...]:
    """Read the description of an engine, one line a layer.

    Args:
        description: the builder's ``Layers:`` message at detailed verbosity, or the engine
            inspector's ``ONELINE`` text.

    Raises:
        EngineError: there is no layer in it.
    """
    layers = []
    for line in description.splitlines():
        found = _LAYER.match(line)
        if found:
            layers.append(
                EngineLayer(
                    found["name"],
                    found["kind"],
                    _tensors(found["inputs"]),
                    _tensors(found["constants"] or ""),
                    frozenset(_ORIGIN.findall(line)),
                )
            )
    if not layers:
        raise EngineError(
            "the compiler's description of the engine names no layer: this version writes "
            "it in a form that megatick does not read"
        )
    return tuple(layers)


def read_graph_layers(path: Path) -> GraphLayers:
    """Find the linear layers and attentions of an ONNX graph.

    A linear layer is a product with a stored weight, dequantised on the way or not; an
    attention has one softmax, and nothing else in these graphs has any.
    """
    graph = onnx.load(str(path), load_external_data=False).graph
    stored = {tensor.name for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type in {"DequantizeLinear", "Transpose"} and node.input[0] in stored:
            stored.add(node.output[0])
    linears = tuple(
        node.name
        for node in graph.node
        if node.op_type in {"Gemm", "MatMul"} and node.input[1] in stored
    )
    return GraphLayers(linears, sum(node.op_type == "Softmax" for node in graph.node))


def _tensors(text: str) -> tuple[EngineTensor, ...]:
    return tuple(
        EngineTensor(
            tuple(int(each) for each in found["dims"].split(",") if each),
            _NAMES.get(found["type"], found["type"]),
        )
        for found in _TENSOR.finditer(text)
    )


def _attention_precision(layer: EngineLayer) -> str:
    """The precision of most inputs: queries, keys and values, against one mask."""
    (most_common,) = Counter(each.precision for each in layer.inputs).most_common(1)
    return most_common[0]


def _precision(linear: str, engine: Sequence[EngineLayer]) -> str:
    """The precision of a linear layer: its weight's, if something it reads shares it."""
    found = set()
    for layer in engine:
        if linear in layer.origins:
            given = {tensor.precision for tensor in layer.inputs}
            for constant in layer.constants:
                if len(constant.dims) >= 2 and min(constant.dims[-2:]) > 1:  # no bias
                    shared = constant.precision in given
                    found.add(constant.precision if shared else "mixed")
    return found.pop() if len(found) == 1 else "mixed" if found else "unknown"
