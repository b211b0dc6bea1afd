"""Smoothing finds the channels that stand out, and INT8 answers better for it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
import torch
from bench import ROWS, tiny_network
from tiny import LLAMA, random_weights

from megatick_contract.cpu_engine import cpu_capabilities
from megatick_export import Network
from megatick_export.packed import PackedClassifier
from megatick_export.parity import Logits, openvino_engine, torch_engine
from megatick_export.precision.int8 import quantize_int8
from megatick_export.precision.smoothing import EXPONENTS, smoothing
from megatick_export.to_onnx import write_onnx

LOUD = 5
BATCHES = [ROWS[:8], ROWS[8:16]]
FC1 = "network.decoder.layers.0.mlp.linear_fc1.weight"


@pytest.fixture(scope="module")
def loud() -> Network:
    """Each norm makes one channel large that the next weight makes small again."""
    network = tiny_network("llama")
    for layer in network.layers:
        attention, mlp = layer.self_attention, layer.mlp
        for norm, linear in (
            (layer.input_layernorm, attention.linear_qkv),
            (layer.pre_mlp_layernorm, mlp.linear_fc1),
        ):
            norm.weight[LOUD] *= 60
            linear.weight[:, LOUD] /= 60
    return network


@pytest.fixture(scope="module")
def graph(loud: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("loud") / "model.onnx"
    write_onnx(PackedClassifier(loud), path)
    return path


def test_the_channel_that_stands_out_is_divided_the_most(graph: Path) -> None:
    found = smoothing(graph, BATCHES)

    divisor = found[FC1]
    assert divisor.dtype == np.float32
    assert divisor.argmax() == LOUD
    assert divisor[LOUD] > 10 * np.median(divisor)


def test_a_divisor_is_the_formula_of_the_paper(loud: Network, graph: Path) -> None:
    divisor = smoothing(graph, BATCHES)[FC1]

    mlp = loud.layers[0].mlp
    seen: list[torch.Tensor] = []
    watch = mlp.linear_fc1.register_forward_pre_hook(
        lambda _, given: seen.append(cast("tuple[torch.Tensor]", given)[0])
    )
    for batch in BATCHES:
        torch_engine(PackedClassifier(loud))(batch)
    watch.remove()
    largest = torch.cat([each.flatten(0, -2) for each in seen]).abs().amax(0).numpy()
    reach = mlp.linear_fc1.weight.abs().amax(0).numpy()
    candidates = [largest**a / reach ** (1 - a) for a in EXPONENTS]
    ratios = [np.std(np.log(divisor / each)) for each in candidates]
    assert min(ratios) < 1e-4  # one of them, times a constant
    assert np.log(divisor).mean() == pytest.approx(0, abs=1e-4)


def test_what_is_kept_in_float32_is_not_smoothed(graph: Path) -> None:
    assert FC1 not in smoothing(graph, BATCHES, keep=[FC1])


def test_widths_that_no_group_divides_are_smoothed_and_run_in_int8(tmp_path: Path) -> None:
    odd = replace(LLAMA, hidden_size=72, kv_channels=18, ffn_hidden_size=100)
    network = Network(odd)
    network.load_state_dict(random_weights(odd))
    graph, int8 = tmp_path / "model.onnx", tmp_path / "int8.onnx"
    write_onnx(PackedClassifier(network.eval()), graph)
    quantize_int8(graph, int8, smooth=smoothing(graph, BATCHES))

    logits = openvino_engine(int8, precision="int8")(ROWS).logits

    exact = torch_engine(PackedClassifier(network))(ROWS).logits
    assert 0 < np.square(logits - exact).mean() < 0.01 * np.square(exact).mean()


@pytest.mark.skipif("INT8" not in cpu_capabilities(), reason="no INT8 products here")
def test_int8_is_nearer_to_float32_with_it(
    loud: Network, graph: Path, tmp_path: Path
) -> None:
    exact = torch_engine(PackedClassifier(loud))(ROWS).logits
    plain, smooth = tmp_path / "plain.onnx", tmp_path / "smooth.onnx"
    quantize_int8(graph, plain)
    quantize_int8(graph, smooth, smooth=smoothing(graph, BATCHES))

    def error(path: Path) -> Any:
        logits: Logits = openvino_engine(path, precision="int8")(ROWS).logits
        return np.square(logits - exact).mean()

    assert 0 < error(smooth) < 0.5 * error(plain)
