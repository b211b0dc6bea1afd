"""The packed graph is the reference network, on any ragged batch and in every runtime."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from tiny import BERT, GPT2, LLAMA, write_tiny

from megatick_contract.packing import packed_feed
from megatick_export import Architecture, Network, read_checkpoint, reference_network
from megatick_export.packed import PackedClassifier
from megatick_export.parity import (
    onnxruntime_engine,
    onnxruntime_session,
    openvino_engine,
    ragged_rows,
    reference_logits,
)
from megatick_export.to_onnx import write_onnx

ARCHITECTURES = {"llama": LLAMA, "gpt2": GPT2, "bert": BERT}
LENGTHS = [
    pytest.param([1], id="one-token"),
    pytest.param([2], id="two-tokens"),
    pytest.param([96], id="a-full-window"),
    pytest.param([1, 1, 1], id="single-tokens"),
    pytest.param([5, 17, 33, 9], id="ragged"),
    pytest.param([40, 2, 2, 2, 90, 1], id="very-ragged"),
]


@pytest.fixture(scope="module", params=ARCHITECTURES)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Network, Path]:
    folder = tmp_path_factory.mktemp(request.param)
    architecture: Architecture = ARCHITECTURES[request.param]
    checkpoint = read_checkpoint(write_tiny(folder / "checkpoint", architecture))
    network = reference_network(checkpoint)
    write_onnx(PackedClassifier(network), folder / "model.onnx")
    return network, folder / "model.onnx"


@pytest.mark.parametrize("lengths", LENGTHS)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_packed_rows_equal_rows_alone(
    exported: tuple[Network, Path], lengths: list[int], runtime: str
) -> None:
    network, path = exported
    random = np.random.default_rng(len(lengths))
    rows = [random.integers(0, 256, length).astype(np.int32) for length in lengths]

    if runtime == "onnxruntime":
        logits = onnxruntime_engine(path)(rows).logits
    else:
        logits = openvino_engine(path)(rows).logits

    reference = reference_logits(network, rows)
    assert np.ptp(reference) > 0.1, "rows that all answer alike would prove nothing"
    np.testing.assert_allclose(logits, reference, atol=2e-5)


def test_a_longest_row_that_is_not_there_changes_nothing(
    exported: tuple[Network, Path],
) -> None:
    # An engine with FP8 attention is compiled for one length of max_seqlen.
    network, path = exported
    rows = ragged_rows(vocab_size=256, max_tokens=40)
    feed = packed_feed(rows) | {"max_seqlen": np.zeros(96, np.int32)}

    (logits,) = onnxruntime_session(path).run(["logits"], feed)

    np.testing.assert_allclose(logits, reference_logits(network, rows), atol=2e-5)


def test_a_rows_answer_does_not_depend_on_its_batch_mates(
    exported: tuple[Network, Path],
) -> None:
    _, path = exported
    rows = ragged_rows(vocab_size=256, max_tokens=96)
    engine = onnxruntime_engine(path)

    together = engine(rows).logits

    alone = np.concatenate([engine([row]).logits for row in rows])
    np.testing.assert_allclose(together, alone, atol=2e-5)


def test_the_graph_is_one_plain_file(exported: tuple[Network, Path]) -> None:
    _, path = exported
    model = onnx.load(str(path), load_external_data=False)

    assert [tensor.name for tensor in model.graph.input] == [
        "input_ids",
        "row_lengths",
        "max_seqlen",
    ]
    assert [tensor.name for tensor in model.graph.output] == ["logits"]
    assert {node.domain for node in model.graph.node} == {""}, "standard operators only"
    operators = {node.op_type for node in model.graph.node}
    # Shapes that depend on values, or sequences, would keep compilers from dynamic shapes.
    assert not operators & {
        "NonZero",
        "Compress",
        "Unique",
        "SequenceAt",
        "SplitToSequence",
    }
    assert not any(tensor.external_data for tensor in model.graph.initializer)


def test_no_linear_layer_sees_padding(exported: tuple[Network, Path]) -> None:
    # Every weight matrix multiplies [N, ·] or [B, ·]: its product has two axes.  Only
    # attention's own two products a layer, which hold no weight, have four.
    network, path = exported
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    weights = {tensor.name for tensor in model.graph.initializer}
    ranks = {
        value.name: len(value.type.tensor_type.shape.dim)
        for value in (*model.graph.value_info, *model.graph.output)
    }
    linear = [
        node
        for node in model.graph.node
        if node.op_type in {"Gemm", "MatMul"} and weights & set(node.input)
    ]
    attention = [
        node
        for node in model.graph.node
        if node.op_type == "MatMul" and not weights & set(node.input)
    ]

    layers = network.architecture.num_layers
    assert len(linear) >= 4 * layers + 1
    assert {ranks[node.output[0]] for node in linear} == {2}
    assert len(attention) == 2 * layers


def test_the_last_layer_answers_for_one_token_of_each_row(
    exported: tuple[Network, Path],
) -> None:
    # Of the linear layers, all run on [tokens, ·] but the last layer's output projection
    # and MLP, BERT's pooler, and the head, which run on [rows, ·].
    network, path = exported
    model = onnx.shape_inference.infer_shapes(onnx.load(str(path)))
    weights = {tensor.name for tensor in model.graph.initializer}
    first_axis = {
        value.name: value.type.tensor_type.shape.dim[0].dim_param
        for value in (*model.graph.value_info, *model.graph.output)
        if value.type.tensor_type.shape.dim
    }
    axes = [
        first_axis[node.output[0]]
        for node in model.graph.node
        if node.op_type in {"Gemm", "MatMul"} and weights & set(node.input)
    ]

    pooled = 4 + network.architecture.pooler
    assert axes[-pooled:] == ["rows"] * pooled
    assert "rows" not in axes[:-pooled]
