"""Tiny packed graphs in the precisions that GPUs run, and a profile for them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import BERT, GPT2, LLAMA, WINDOW, random_weights

from megatick_export import Network
from megatick_export.engine import BatchLimits, Profile
from megatick_export.packed import PackedClassifier
from megatick_export.precision.calibration import largest_inputs
from megatick_export.precision.fp8 import quantize
from megatick_export.precision.lowering import lowered
from megatick_export.to_onnx import write_onnx

LAYERS = 2
"""The last runs on the pooled tokens alone, the first on all; a layer takes seconds."""

ARCHITECTURES = {
    name: replace(architecture, num_layers=LAYERS)
    for name, architecture in {"llama": LLAMA, "gpt2": GPT2, "bert": BERT}.items()
}
LENGTHS = [5, 25, 25, 60]

WriteGraph = Callable[[str, str], Path]


@pytest.fixture(scope="session")
def profile() -> Profile:
    return Profile.of(BatchLimits(max_tokens=WINDOW, max_batch=4), LENGTHS)


@pytest.fixture(scope="session")
def whole_window() -> Profile:
    """The same with attention's length fixed; tokens and rows stay dynamic."""
    limits = BatchLimits(max_tokens=WINDOW, max_batch=4, whole_window=True)
    return Profile.of(limits, LENGTHS)


@pytest.fixture(scope="session")
def graph(tmp_path_factory: pytest.TempPathFactory) -> WriteGraph:
    """``graph("gpt2", "fp8")`` writes that graph once, and returns its file."""
    folder = tmp_path_factory.mktemp("graphs")

    @cache
    def write(name: str, precision: str) -> Path:
        path = folder / f"{name}-{precision}.onnx"
        network = Network(ARCHITECTURES[name])
        network.load_state_dict(random_weights(ARCHITECTURES[name]))
        network.eval().requires_grad_(requires_grad=False)
        half = lowered(network, torch.float16)
        layers = LAYERS - 1 if precision == "fp8-but-the-last" else LAYERS
        if precision != "fp16":
            batch = [np.arange(40, dtype=np.int32)]
            largest = largest_inputs(PackedClassifier(network), [batch])
            attends = precision == "fp8-attention"
            quantize(half, largest, layers=range(layers), in_attention=attends)
        write_onnx(PackedClassifier(half), path)
        return path

    return write
