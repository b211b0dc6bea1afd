"""Int8 weights: torch's own rounding is the reference, and every runtime loads the file."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, numpy_helper
from tiny import BERT, GPT2, LLAMA, write_tiny

from megatick_export import Network, read_checkpoint, reference_network
from megatick_export.errors import QuantizationError
from megatick_export.packed import PackedClassifier
from megatick_export.parity import (
    Engine,
    onnxruntime_engine,
    openvino_engine,
    reference_logits,
)
from megatick_export.precision.int8 import Quantized, quantize_int8
from megatick_export.to_onnx import write_onnx

ARCHITECTURES = {"llama": LLAMA, "gpt2": GPT2, "bert": BERT}
HEAD = "network.classification_head.weight"
PRODUCTS = {"llama": 9, "gpt2": 9, "bert": 10}
"""Four a layer, two layers, the head, and BERT's pooler."""

BATCHES = [
    pytest.param([1], id="one-token"),
    pytest.param([96], id="a-full-window"),
    pytest.param([5, 17, 33, 9], id="ragged"),
    pytest.param([40, 2, 2, 2, 90, 1], id="very-ragged"),
]


@dataclass(frozen=True)
class Exported:
    name: str
    network: Network
    graph: Path
    int8: Path
    result: Quantized


@pytest.fixture(scope="module", params=ARCHITECTURES)
def exported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Exported:
    folder = tmp_path_factory.mktemp(request.param)
    architecture = ARCHITECTURES[request.param]
    checkpoint = read_checkpoint(write_tiny(folder / "checkpoint", architecture))
    network = reference_network(checkpoint)
    with torch.no_grad():  # a channel of zeros has no scale of its own
        network.layers[0].mlp.linear_fc1.weight[3] = 0
    graph, int8 = folder / "model.onnx", folder / "int8.onnx"
    write_onnx(PackedClassifier(network), graph)
    return Exported(request.param, network, graph, int8, quantize_int8(graph, int8))


def initializers(path: Path) -> dict[str, TensorProto]:
    return {tensor.name: tensor for tensor in onnx.load(path).graph.initializer}


def rounded_by_torch(weight: torch.Tensor) -> torch.Tensor:
    scale = (weight.abs().amax(1) / 127).clamp(min=1e-12)
    zeros = torch.zeros(len(weight), dtype=torch.int32)
    return torch.fake_quantize_per_channel_affine(weight, scale, zeros, 0, -127, 127)


def test_every_weight_of_a_product_is_int8_in_the_file(exported: Exported) -> None:
    before, after = initializers(exported.graph), initializers(exported.int8)

    stored = [t for t in after.values() if t.data_type == TensorProto.INT8]
    assert len(stored) == len(exported.result.int8) == PRODUCTS[exported.name]
    linears = [m for m in exported.network.modules() if isinstance(m, torch.nn.Linear)]
    elements = sum(linear.weight.numel() for linear in linears)
    assert sum(numpy_helper.to_array(tensor).size for tensor in stored) == elements
    assert exported.result.kept == ()
    assert not set(exported.result.int8) & set(after)
    assert set(exported.result.int8) <= set(before)


@pytest.mark.parametrize("lengths", BATCHES)
@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_it_answers_as_the_network_with_torchs_rounded_weights(
    exported: Exported, lengths: list[int], runtime: str
) -> None:
    random = np.random.default_rng(len(lengths))
    rows = [random.integers(0, 256, length).astype(np.int32) for length in lengths]
    linears = [m for m in exported.network.modules() if isinstance(m, torch.nn.Linear)]
    originals = [linear.weight.data for linear in linears]
    exact = reference_logits(exported.network, rows)
    for linear in linears:
        linear.weight.data = rounded_by_torch(linear.weight.data)
    try:
        reference = reference_logits(exported.network, rows)
    finally:
        for linear, weight in zip(linears, originals, strict=True):
            linear.weight.data = weight

    if runtime == "onnxruntime":
        logits = onnxruntime_engine(exported.int8)(rows).logits
    else:
        logits = openvino_engine(exported.int8, precision="fp32")(rows).logits

    assert np.abs(reference - exact).max() > 1e-3, "the rounding must show"
    np.testing.assert_allclose(logits, reference, atol=5e-5)


@pytest.mark.parametrize("runtime", [onnxruntime_engine, openvino_engine])
def test_what_smoothing_divides_an_input_by_the_weight_is_multiplied_with(
    exported: Exported, tmp_path: Path, runtime: Callable[[Path], Engine]
) -> None:
    random = np.random.default_rng(0)
    smoothed = dict(exported.network.named_modules())["decoder.layers.0.mlp.linear_fc2"]
    assert isinstance(smoothed, torch.nn.Linear)
    original = smoothed.weight.data
    divisor = random.uniform(0.1, 10, original.shape[1]).astype(np.float32)
    name = "network.decoder.layers.0.mlp.linear_fc2.weight"
    quantize_int8(
        exported.graph,
        tmp_path / "int8.onnx",
        keep=[weight for weight in exported.result.int8 if weight != name],
        smooth={name: divisor},
    )
    rows = [random.integers(0, 256, length).astype(np.int32) for length in (5, 17)]
    exact = reference_logits(exported.network, rows)
    by = torch.from_numpy(divisor)
    smoothed.weight.data = rounded_by_torch(original * by) / by
    try:
        reference = reference_logits(exported.network, rows)
    finally:
        smoothed.weight.data = original

    logits = runtime(tmp_path / "int8.onnx")(rows).logits

    assert np.abs(reference - exact).max() > 1e-3, "the rounding must show"
    np.testing.assert_allclose(logits, reference, atol=5e-5)


def test_a_kept_weight_is_float_and_untouched(exported: Exported, tmp_path: Path) -> None:
    result = quantize_int8(exported.graph, tmp_path / "int8.onnx", keep=[HEAD])

    assert result.kept == (HEAD,)
    assert len(result.int8) == PRODUCTS[exported.name] - 1
    before, after = initializers(exported.graph), initializers(tmp_path / "int8.onnx")
    np.testing.assert_array_equal(
        numpy_helper.to_array(after[HEAD]), numpy_helper.to_array(before[HEAD])
    )
    assert not [name for name in after if name.startswith(f"{HEAD}.")]


def test_a_name_that_is_no_weight_is_refused(exported: Exported, tmp_path: Path) -> None:
    with pytest.raises(QuantizationError, match=r"found head\.wieght;"):
        quantize_int8(exported.graph, tmp_path / "int8.onnx", keep=["head.wieght"])
    assert not (tmp_path / "int8.onnx").exists()


def test_a_quantised_graph_is_not_quantised_again(
    exported: Exported, tmp_path: Path
) -> None:
    with pytest.raises(QuantizationError, match="quantised already"):
        quantize_int8(exported.int8, tmp_path / "again.onnx")
    assert not (tmp_path / "again.onnx").exists()
