"""bf16 on a CPU: the sums of the residual stream stay float32."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import openvino
import pytest
from bench import ROWS
from tiny import LLAMA, random_weights

from megatick_contract.cpu_engine import (
    CpuPrecision,
    cpu_has_bf16,
    openvino_core,
    openvino_options,
    read_graph,
)
from megatick_contract.packing import packed_feed
from megatick_export.network import Network
from megatick_export.packed import PackedClassifier
from megatick_export.to_onnx import write_onnx

LAYERS = 12


@pytest.fixture(scope="module")
def graph(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A deep network: each layer's sum is rounded once more."""
    architecture = replace(LLAMA, num_layers=LAYERS)
    network = Network(architecture)
    network.load_state_dict(random_weights(architecture))
    path = tmp_path_factory.mktemp("bf16") / "model.onnx"
    write_onnx(PackedClassifier(network.eval()), path)
    return path


def names(model: openvino.Model) -> list[str]:
    return [port.get_any_name() for port in model.outputs]


def test_the_last_layers_sum_is_looked_at_in_bf16_alone(graph: Path) -> None:
    assert names(read_graph(graph, "bf16")) == ["logits", f"decoder.layers.{LAYERS - 1}"]
    assert names(read_graph(graph, "fp32")) == ["logits"]
    assert names(read_graph(graph, "int8")) == ["logits"]


def test_a_graph_whose_layers_have_no_names_is_read_as_it_is(tmp_path: Path) -> None:
    given = openvino.opset13.parameter([1, 2], name="given")
    model = openvino.Model([openvino.opset13.relu(given)], [given])
    openvino.save_model(model, str(tmp_path / "model.xml"))

    assert len(read_graph(tmp_path / "model.xml", "bf16").outputs) == 1


@pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU has no bf16 arithmetic")
def test_the_answers_are_nearer_to_float32_than_if_nobody_looked(graph: Path) -> None:
    def logits(model: openvino.Model, precision: CpuPrecision) -> Any:
        options = openvino_options(precision, model)
        compiled = openvino_core().compile_model(model, "CPU", options)
        return np.array(compiled(packed_feed(ROWS))["logits"])

    exact = logits(read_graph(graph, "fp32"), "fp32")
    looked_at = np.abs(logits(read_graph(graph, "bf16"), "bf16") - exact).mean()
    plain = np.abs(logits(openvino_core().read_model(str(graph)), "bf16") - exact).mean()

    assert 0 < looked_at < 0.97 * plain


@pytest.mark.skipif(not cpu_has_bf16(), reason="this CPU has no bf16 arithmetic")
def test_no_product_is_rounded_before_it_is_summed(graph: Path) -> None:
    """What OpenVINO rounds and turns back, it turns back by a reorder that reads bf16."""
    model = read_graph(graph, "bf16")
    options = openvino_options("bf16", model)
    kernels = openvino_core().compile_model(model, "CPU", options).get_runtime_model()

    found = [
        (info["layerType"].astype(str), info["runtimePrecision"].astype(str))
        for info in (kernel.get_rt_info() for kernel in kernels.get_ops())
    ]

    assert found.count(("FullyConnected", "bf16")) > LAYERS
    assert found.count(("Eltwise", "f32")) >= 2 * LAYERS
    assert ("Reorder", "bf16") not in found
