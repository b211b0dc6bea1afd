"""The largest inputs of every layer, against the reference network's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from bench import ROWS, tiny_network

from megatick_export.packed import PackedClassifier
from megatick_export.precision.calibration import largest_inputs

ATTENTION = "decoder.layers.0.self_attention."


@pytest.mark.parametrize("name", ["llama", "gpt2"])
def test_the_largest_of_all_batches_is_found(name: str) -> None:
    network = tiny_network(name)
    rows = ROWS[:6]

    found = largest_inputs(PackedClassifier(network), [rows[:4], rows[4:]])

    layer = network.layers[0]
    largest: dict[str, list[float]] = {"query": [], "key": [], "value": [], "normed": []}
    for row in rows:
        positions = torch.arange(len(row))
        hidden = network.embed(torch.from_numpy(row).long(), positions)
        normed = layer.input_layernorm(hidden)
        attended = layer.project(hidden, network.rotation(positions))
        tensors = dict(zip(("query", "key", "value"), attended, strict=True))
        for part, tensor in {**tensors, "normed": normed}.items():
            largest[part].append(tensor.abs().max().item())
    expected = {part: max(values) for part, values in largest.items()}
    assert found[f"{ATTENTION}linear_qkv"] == pytest.approx(expected["normed"])
    for part in ("query", "key", "value"):
        name_of_part = f"{ATTENTION}core_attention.{part}"
        assert found[name_of_part] == pytest.approx(expected[part], rel=1e-5)


def test_every_layer_is_watched_and_let_go() -> None:
    network = tiny_network("llama")

    found = largest_inputs(PackedClassifier(network), [ROWS[:2]])

    assert len(found) == network.architecture.num_layers * (4 + 3)
    assert np.isfinite(list(found.values())).all()
    hooks = [len(module._forward_pre_hooks) for module in network.modules()]
    assert sum(hooks) == 0
