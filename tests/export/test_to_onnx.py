"""What the file tells beside its answers, and how it moves when it is two files."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
import torch
from bench import tiny_network

from megatick_contract.cpu_engine import openvino_core, read_graph
from megatick_contract.packing import packed_feed
from megatick_export import Network, to_onnx
from megatick_export.packed import PackedClassifier
from megatick_export.parity import (
    onnxruntime_engine,
    onnxruntime_session,
    openvino_engine,
    reference_logits,
)
from megatick_export.precision.layers import (
    layer_errors,
    onnxruntime_streams,
    openvino_streams,
)
from megatick_export.to_onnx import move_onnx, write_onnx

METADATA = {"labels": '["up", "down", "flat"]', "max_tokens": "96"}
LAYERS = 2


@dataclass(frozen=True)
class Written:
    network: Network
    graph: Path


@pytest.fixture(scope="module", params=["llama", "gpt2", "bert"])
def written(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Written:
    network = tiny_network(request.param)
    graph = tmp_path_factory.mktemp(request.param) / "model.onnx"
    classifier = PackedClassifier(network, embedding=True)
    write_onnx(classifier, graph, metadata=METADATA)
    return Written(network, graph)


@pytest.fixture(scope="module")
def rows() -> list[npt.NDArray[np.int32]]:
    random = np.random.default_rng(3)
    return [random.integers(0, 256, n).astype(np.int32) for n in (5, 17, 1, 9)]


@pytest.fixture(scope="module")
def streams(
    written: Written, rows: list[npt.NDArray[np.int32]]
) -> list[npt.NDArray[np.float32]]:
    """The residual stream after each layer of rows run alone, end to end."""
    network = written.network
    parts: list[list[torch.Tensor]] = [[] for _ in range(LAYERS)]
    for row in rows:
        found: list[torch.Tensor] = []
        hidden = network.embed(torch.from_numpy(row)[None].long(), torch.arange(len(row)))
        rotation = network.rotation(torch.arange(len(row)))
        mask = torch.ones((1, 1, len(row), len(row)), dtype=torch.bool)
        if network.architecture.causal:
            mask = mask.tril()
        for layer in network.layers:
            query, key, value = layer.project(hidden, rotation)
            hidden = layer.finish(hidden, layer.attend(query, key, value, mask))
            found.append(hidden[0])
        pooled = -1 if network.architecture.causal else 0
        found[-1] = found[-1][[pooled]]  # the last layer answers for one token of each row
        for part, each in zip(parts, found, strict=True):
            part.append(each)
    return [torch.cat(part).numpy() for part in parts]


def kernels_of(graph: Path) -> Counter[str]:
    """What OpenVINO runs on this CPU, by kind."""
    engine = openvino_core().compile_model(read_graph(graph, "fp32"), "CPU")
    nodes = engine.get_runtime_model().get_ops()
    return Counter(node.get_rt_info()["layerType"].astype(str) for node in nodes)


def test_the_metadata_is_told_by_onnxruntime(written: Written) -> None:
    session = onnxruntime_session(written.graph)

    assert session.get_modelmeta().custom_metadata_map == METADATA


def test_the_second_output_is_the_pooled_state_after_the_final_norm(
    written: Written, rows: list[npt.NDArray[np.int32]]
) -> None:
    session = onnxruntime_session(written.graph)

    logits, embedding = session.run(["logits", "embedding"], packed_feed(rows))

    pooled = -1 if written.network.architecture.causal else 0
    expected = [
        written.network.encode(torch.from_numpy(row)[None].long())[0, pooled].numpy()
        for row in rows
    ]
    assert embedding.dtype == np.float32
    np.testing.assert_allclose(embedding, np.stack(expected), atol=1e-4)
    reference = reference_logits(written.network, rows)
    np.testing.assert_allclose(logits, reference, atol=1e-4)


def test_a_cpu_runs_each_rotation_as_one_kernel(written: Written) -> None:
    rotates = written.network.architecture.position_embedding == "rope"

    kernels = kernels_of(written.graph)

    assert kernels["RoPE"] == (2 * LAYERS if rotates else 0)


def test_heads_that_share_keys_do_not_have_them_repeated(written: Written) -> None:
    kinds = [node.op_type for node in onnx.load(written.graph).graph.node]

    assert kinds.count("Expand") < LAYERS  # one may be the embedding's


def test_a_gate_is_a_product_of_its_own(written: Written) -> None:
    model = read_graph(written.graph, "fp32")

    assert "Split" not in {node.get_type_name() for node in model.get_ops()}


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_a_layers_name_is_the_residual_stream_after_it(
    written: Written,
    rows: list[npt.NDArray[np.int32]],
    streams: list[npt.NDArray[np.float32]],
    runtime: str,
) -> None:
    if runtime == "onnxruntime":
        found = onnxruntime_streams(written.graph, LAYERS, rows)
    else:
        found = openvino_streams(written.graph, LAYERS, rows, precision="fp32")

    for each, expected in zip(found, streams, strict=True):
        np.testing.assert_allclose(each, expected, atol=1e-4)
    assert [file.name for file in written.graph.parent.iterdir()] == ["model.onnx"]


def test_layer_errors_by_hand() -> None:
    # Root mean squares: of (3, 4) sqrt(12.5), of a difference (0.3, 0.4) a tenth of it.
    reference = [np.array([3.0, 4.0]), np.array([1.0])]
    found = [np.array([3.3, 3.6]), np.array([1.0])]

    assert layer_errors(found, reference) == pytest.approx((0.1, 0.0))


@pytest.fixture
def two_files(tmp_path: Path) -> Written:
    """A graph with its weights beside it.

    The model was deepened with layers that add nothing yet: their weights are all zeros.
    """
    network = tiny_network("gpt2")
    for layer in network.layers[1:]:
        layer.mlp.linear_fc2.weight.data.zero_()
        layer.mlp.linear_fc2.bias.data.zero_()
    graph = tmp_path / "scratch" / "fp32.onnx"
    graph.parent.mkdir()
    write_onnx(PackedClassifier(network), graph, metadata=METADATA, one_file=False)
    return Written(network, graph)


@pytest.mark.parametrize(
    ("most_bytes", "files"),
    [
        pytest.param(10_000_000, {"model.onnx"}, id="joined-where-they-fit"),
        pytest.param(10_000, {"model.onnx", "model.onnx.data"}, id="else-beside-it"),
    ],
)
def test_weights_beside_the_graph_move_along(
    two_files: Written,
    rows: list[npt.NDArray[np.int32]],
    monkeypatch: pytest.MonkeyPatch,
    most_bytes: int,
    files: set[str],
) -> None:
    monkeypatch.setattr(to_onnx, "_ONE_FILE_BYTES", most_bytes)
    scratch, folder = two_files.graph.parent, two_files.graph.parents[1]
    assert {file.name for file in scratch.iterdir()} == {"fp32.onnx", "fp32.onnx.data"}
    assert two_files.graph.stat().st_size < 500_000
    streams = onnxruntime_streams(two_files.graph, LAYERS, rows)
    assert len(streams) == LAYERS

    moved = folder / "model.onnx"
    move_onnx(two_files.graph, moved)

    assert list(scratch.iterdir()) == []
    assert {file.name for file in folder.iterdir()} == files | {"scratch"}
    expected = reference_logits(two_files.network, rows)
    for load in (onnxruntime_engine, openvino_engine):
        np.testing.assert_allclose(load(moved)(rows).logits, expected, atol=1e-4)
    session = onnxruntime_session(moved)
    assert session.get_modelmeta().custom_metadata_map == METADATA


def test_layers_with_the_same_weights_keep_their_names(two_files: Written) -> None:
    (graph_file,) = two_files.graph.parents[1].rglob("*.onnx")
    graph = onnx.load(str(graph_file), load_external_data=False).graph

    named = {output for node in graph.node for output in node.output}
    assert named >= {f"decoder.layers.{layer}" for layer in range(LAYERS)}
