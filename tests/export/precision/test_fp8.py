"""FP8 by hand, in the file, and in onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from bench import ROWS, tiny_network
from onnx import TensorProto
from torch import nn

from megatick_export.packed import PackedClassifier
from megatick_export.parity import onnxruntime_engine, torch_engine
from megatick_export.precision.calibration import largest_inputs
from megatick_export.precision.fp8 import (
    Fp8CoreAttention,
    Fp8Linear,
    Fp8Scale,
    quantize,
)
from megatick_export.precision.lowering import lowered
from megatick_export.to_onnx import write_onnx
from megatick_export.transformer import CoreAttention

LAYERS = 2


def linear(weight: Sequence[Sequence[float]], bias: Sequence[float]) -> nn.Linear:
    made = nn.Linear(len(weight[0]), len(weight))
    made.weight.data, made.bias.data = torch.tensor(weight), torch.tensor(bias)
    for each in made.parameters():
        each.requires_grad = False
    return made


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        # Three bits of mantissa: 16, 18, 20, … and ties to even.
        pytest.param([1.0, 17.0, 19.0, -20.9], [1.0, 16.0, 20.0, -20.0], id="rounded"),
        pytest.param([448.0, 449.0, -1e6], [448.0, 448.0, -448.0], id="saturated"),
        # Below 2^-6 the steps are 2^-9.
        pytest.param([2**-9, 2**-11, 0.0], [2**-9, 0.0, 0.0], id="tiny"),
    ],
)
@pytest.mark.parametrize("scale", [1.0, 2**-6], ids=["scale-1", "scale-1/64"])
def test_rounding_by_hand(given: list[float], expected: list[float], scale: float) -> None:
    rounding = Fp8Scale(448.0 * scale, torch.float32)

    found = rounding(torch.tensor(given) * scale)

    assert found.tolist() == [each * scale for each in expected]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16], ids=str)
def test_a_linear_layer_by_hand(dtype: torch.dtype) -> None:
    # Scales of the rows: 1 and 1/1792.  17 is rounded to 16 in weight and input; -0.25
    # and 0.125 are -448 and 224 of their row's steps.
    weight = [[448.0, 17.0, 0.0, 1.0], [0.0, -0.25, 0.125, 0.0]]
    layer = Fp8Linear(linear(weight, [3.0, -1.0]).to(dtype), largest_input=448.0)

    found = layer(torch.tensor([[1.0, 17.0, 1000.0, 0.0]], dtype=dtype))

    assert found.dtype == dtype
    assert layer.get_buffer("weight_scale").tolist() == pytest.approx(
        [1, 1 / 1792], rel=1e-3
    )
    by_hand = [448 + 16 * 16 + 3, -0.25 * 16 + 0.125 * 448 - 1]
    assert found[0].tolist() == pytest.approx(by_hand, rel=1e-3)


def test_a_channel_of_zeros_gives_its_bias() -> None:
    layer = Fp8Linear(linear([[0.0, 0.0]], [2.0]).half(), largest_input=0.0)

    assert layer(torch.ones((1, 2)).half()).tolist() == [[2.0]]


@pytest.fixture(scope="module", params=["llama", "gpt2", "bert"])
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[PackedClassifier, Path]:
    """Layer 0 in FP8, attention's products as well, and all else in float32."""
    path = tmp_path_factory.mktemp(request.param) / "fp8.onnx"
    network = tiny_network(request.param)
    largest = largest_inputs(PackedClassifier(network), [ROWS[:16]])
    wide = lowered(network, torch.float32)
    quantize(wide, largest, layers=[0], in_attention=True)
    classifier = PackedClassifier(wide)
    write_onnx(classifier, path)
    return classifier, path


def test_onnxruntime_computes_what_torch_does(
    written: tuple[PackedClassifier, Path],
) -> None:
    classifier, path = written
    rows = ROWS[:8]

    found = onnxruntime_engine(path)(rows).logits

    expected = torch_engine(classifier)(rows).logits
    exact = torch_engine(PackedClassifier(tiny_network(_name(classifier))))(rows).logits
    rounding = float(np.abs(expected - exact).max())
    assert rounding > 0.02, "FP8 that changes nothing would prove nothing"
    # Sums in another order fall to the other side of a step now and then.
    assert np.abs(found - expected).mean() < rounding / 50
    np.testing.assert_allclose(found, expected, atol=rounding / 2)


def test_the_weights_of_the_chosen_layers_and_no_others_are_fp8(
    written: tuple[PackedClassifier, Path],
) -> None:
    classifier, path = written
    graph = onnx.load(str(path)).graph
    tensors = {tensor.name: tensor for tensor in graph.initializer}
    makers = {output: node for node in graph.node for output in node.output}

    fp8 = {
        name
        for name, tensor in tensors.items()
        if tensor.data_type == TensorProto.FLOAT8E4M3FN and len(tensor.dims) == 2
    }

    assert fp8 == {
        f"network.decoder.layers.0.{name}.weight"
        for name in (
            *("self_attention.linear_qkv", "self_attention.linear_proj"),
            *("mlp.linear_fc1", "mlp.linear_fc2"),
        )
    }
    by_scale = [node for node in graph.node if node.input and node.input[0] in fp8]
    assert {node.op_type for node in by_scale} == {"DequantizeLinear"}
    for node in by_scale:
        out, _ = tensors[node.input[0]].dims
        assert list(tensors[node.input[1]].dims) == [out], "a scale for each channel"
    products = [node for node in graph.node if node.op_type in ("MatMul", "Gemm")]
    quantized = [
        node
        for node in products
        if all(_dequantized(name, makers) for name in node.input[:2])
    ]
    # Of the layer four linear layers and attention's two products.
    assert len(quantized) == 4 + 2
    assert len(products) == LAYERS * (4 + 2) + 1 + _pooler(classifier)
    roundings = sum(node.op_type == "QuantizeLinear" for node in graph.node)
    # What feeds the linear layers; queries, keys, values and the softmax's weights.
    assert roundings == 4 + 4


def test_attentions_products_take_fp8_only_where_that_is_asked_for() -> None:
    network = tiny_network("llama")
    largest = largest_inputs(PackedClassifier(network), [ROWS[:4]])
    kinds = []
    for in_attention in (False, True):
        half = lowered(network, torch.float16)
        quantize(half, largest, layers=[1], in_attention=in_attention)
        attention = half.layers[1].self_attention
        assert isinstance(attention.linear_qkv, Fp8Linear)
        kinds.append(type(attention.core_attention))

    assert kinds == [CoreAttention, Fp8CoreAttention]


def _dequantized(name: str, makers: dict[str, Any]) -> bool:
    """Whether a tensor comes from FP8, a weight's transposition left out."""
    node = makers.get(name)
    if node is not None and node.op_type == "Transpose":
        node = makers.get(node.input[0])
    return node is not None and node.op_type == "DequantizeLinear"


def _name(classifier: PackedClassifier) -> str:
    architecture = classifier.network.architecture
    if architecture.kind == "bert":
        return "bert"
    return "llama" if architecture.position_embedding == "rope" else "gpt2"


def _pooler(classifier: PackedClassifier) -> bool:
    return classifier.network.architecture.pooler
