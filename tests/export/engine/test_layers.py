"""Reading what a compiler says of an engine.

The lines are TensorRT-RTX 1.7.1's on a tiny GPT for SM89, with strides and formats cut.
"""

from __future__ import annotations

import pytest

from megatick_export.engine.layers import (
    EngineTensor,
    GraphLayers,
    read_engine_layers,
    report_layers,
)
from megatick_export.errors import EngineError

FP8_PRODUCT = (
    "Name: node_linear_2_myl1_11, LayerType: gemm, Inputs: [ { Name: a, Dimensions: "
    "[-1,64], Datatype: FP8}], Constants: [ { Name: w, Dimensions: [64,96], Datatype: FP8}"
    ", { Name: scale, Dimensions: [1], Datatype: Float}], Outputs: [ { Name: b, Dimensions:"
    " [-1,96], Datatype: Half}], TacticName: __myelin_CASK_STUB, StreamId: 0, Metadata: "
    "[ONNX Layer: node_linear_2][ONNX Layer: weight_DQ]"
)
HALF_PRODUCT = (
    "Name: __myl_FcAddAdd_myl1_9, LayerType: runtime_fusion, Inputs: [ { Name: a, "
    "Dimensions: [-1,64], Datatype: Half}], Constants: [ { Name: bias, Dimensions: [1,64], "
    "Datatype: Float}, { Name: w, Dimensions: [64,64], Datatype: Half}], Outputs: [ { Name:"
    " b, Dimensions: [-1,64], Datatype: Half}], TacticName: , StreamId: 0, Metadata: "
    "[ONNX Layer: node_linear_1][ONNX Layer: node_add_229]"
)
WIDENED_PRODUCT = HALF_PRODUCT.replace(
    "Datatype: Half}], Constants", "Datatype: FP8}], Constants"
)
ATTENTION = (
    "Name: _gemm_mha_v2_myl1_7, LayerType: kgen, Inputs: [ { Name: q, Dimensions: "
    "[-1,-1,16], Datatype: Half}], Constants: [], Outputs: [ { Name: c, Dimensions: "
    "[-1,-1,16], Datatype: FP8}], TacticName: _gemm_mha_v2_0x01, StreamId: 0, Metadata: "
    "[ONNX Layer: node_Softmax_244]"
)
SHAPE = (
    "Name: [ShapeHostToDeviceCopy 0], LayerType: ShapeHostToDevice, Inputs: [], Outputs: "
    "[ { Name: n, Location: Device, Dimensions: [1], Datatype: Int64}], ParameterType: "
    "ShapeH2D, TacticValue: 0x0, StreamId: 0, Metadata: "
)


def describe(*lines: str) -> str:
    return "\n".join(("Layers:", *lines))


def test_a_layer_is_read_with_its_tensors_and_origins() -> None:
    shape, product = read_engine_layers(describe(SHAPE, FP8_PRODUCT))

    assert (shape.kind, shape.inputs, shape.constants) == ("ShapeHostToDevice", (), ())
    assert product.kind == "gemm"
    assert product.inputs == (EngineTensor((-1, 64), "FP8"),)
    assert product.constants == (EngineTensor((64, 96), "FP8"), EngineTensor((1,), "FP32"))
    assert product.origins == {"node_linear_2", "weight_DQ"}


def test_each_linear_layer_is_looked_up_by_name() -> None:
    engine = read_engine_layers(describe(SHAPE, HALF_PRODUCT, ATTENTION, FP8_PRODUCT))
    graph = GraphLayers(("node_linear_1", "node_linear_2", "node_linear"), attentions=2)

    report = report_layers(engine, graph)

    assert report.linears == {
        "node_linear_1": "FP16",  # by its weight: a bias in float32 is no product
        "node_linear_2": "FP8",
        "node_linear": "unknown",
    }
    assert report.precisions == {"FP16": 1, "FP8": 1, "unknown": 1}
    assert (report.layers, report.attentions, report.fused_attentions) == (4, 2, 1)
    assert report.attention_precisions == {"FP16": 1}


def test_an_attentions_precision_is_its_arguments_and_not_its_masks() -> None:
    inputs = ", ".join(
        f"{{ Name: {n}, Dimensions: [-1,64,16], Datatype: FP8}}" for n in "qkv"
    )
    mask = "{ Name: m, Dimensions: [1,1,64,64], Datatype: Half}"
    line = ATTENTION.replace(
        "{ Name: q, Dimensions: [-1,-1,16], Datatype: Half}", f"{inputs}, {mask}"
    )

    report = report_layers(read_engine_layers(describe(line)), GraphLayers((), 1))

    assert report.attention_precisions == {"FP8": 1}


def test_a_weight_that_is_wider_than_its_input_is_mixed() -> None:
    engine = read_engine_layers(describe(WIDENED_PRODUCT))

    report = report_layers(engine, GraphLayers(("node_linear_1",), attentions=0))

    assert report.precisions == {"mixed": 1}


def test_a_form_that_is_not_known_is_an_error_and_not_an_empty_report() -> None:
    with pytest.raises(EngineError, match="names no layer"):
        read_engine_layers("Engine Layer Information:\nLayer(Myelin): x -> y")
