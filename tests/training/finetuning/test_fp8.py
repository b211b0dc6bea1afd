"""What FP8 asks of the machine, and what it does to a network.

Transformer Engine runs on GPUs alone, so a stand-in with the rules of its linear layer
(sides that are multiples of 8 and 16, weights as parameters, an extra state) takes its
place; ``test_on_gpu.py`` runs the real one.
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from tiny import LLAMA, byte_tokenizer, random_weights, write_tiny
from torch import Tensor, nn

from megatick_export import read_checkpoint
from megatick_export.network import Network
from megatick_training.errors import Fp8Unavailable
from megatick_training.finetuning import TrainingOptions, Watcher, finetune, fp8
from megatick_training.finetuning.fp8 import multiply_in_fp8, require_fp8
from megatick_training.finetuning.lora import add_lora
from megatick_training.labelled_text import LabelledTexts

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
VERBS = ("falls", "meets", "gains")


class StandInLinear(nn.Linear):
    """Refuses what ``transformer_engine.pytorch.Linear`` refuses, and counts its calls."""

    in_fp8 = False
    calls: ClassVar[Counter[bool]] = Counter()

    def __init__(
        self,
        in_features: int,
        out_features: int,
        *,
        bias: bool,
        params_dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        super().__init__(in_features, out_features, bias, device, params_dtype)

    def forward(self, given: Tensor) -> Tensor:
        assert given.dim() == 2
        assert given.shape[0] % 8 == 0
        assert given.shape[1] % 16 == 0
        self.calls[StandInLinear.in_fp8] += 1
        bias = None if self.bias is None else self.bias.bfloat16()
        return F.linear(given, self.weight.bfloat16(), bias)

    def get_extra_state(self) -> Tensor:
        return torch.zeros(0)

    def set_extra_state(self, state: Any) -> None: ...


class Recipe:
    """In the place of ``Float8CurrentScaling``."""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """A library that CPUs have; gives the module, whose Linear counts its calls."""

    @contextmanager
    def autocast(*, enabled: bool, recipe: object) -> Iterator[None]:
        assert isinstance(recipe, Recipe)
        StandInLinear.in_fp8 = enabled
        yield
        StandInLinear.in_fp8 = False

    StandInLinear.calls.clear()
    StandInLinear.in_fp8 = False
    library = ModuleType("transformer_engine.pytorch")
    vars(library).update(Linear=StandInLinear, autocast=autocast)
    recipes = ModuleType("transformer_engine.common.recipe")
    vars(recipes).update(Float8CurrentScaling=Recipe)
    monkeypatch.setitem(sys.modules, recipes.__name__, recipes)
    monkeypatch.setattr(fp8, "require_fp8", lambda device: library)
    return library


@pytest.fixture
def network() -> Network:
    network = Network(LLAMA)
    network.load_state_dict(random_weights(LLAMA))
    return network.eval().requires_grad_(requires_grad=False)


def gpu(monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int]) -> None:
    monkeypatch.setattr("torch.cuda.get_device_capability", lambda device: capability)
    monkeypatch.setattr("torch.cuda.get_device_name", lambda device: "a card")


def installed(monkeypatch: pytest.MonkeyPatch, **names: object) -> None:
    library = ModuleType("transformer_engine.pytorch")
    vars(library).update(names)
    monkeypatch.setitem(sys.modules, "transformer_engine", ModuleType("transformer_engine"))
    monkeypatch.setitem(sys.modules, "transformer_engine.pytorch", library)


def test_a_cpu_is_refused() -> None:
    with pytest.raises(
        Fp8Unavailable, match=r"GPU of .* 8\.9 or more .* found a cpu device"
    ):
        require_fp8(CPU)


def test_an_older_gpu_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, (8, 6))

    with pytest.raises(Fp8Unavailable, match=r"found a card of 8\.6\..*--precision bf16"):
        require_fp8(CUDA)


def test_an_absent_library_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, (9, 0))
    monkeypatch.setitem(sys.modules, "transformer_engine", None)

    with pytest.raises(Fp8Unavailable, match=r"package transformer_engine.*pip install"):
        require_fp8(CUDA)


def test_an_older_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, (9, 0))
    installed(monkeypatch, fp8_autocast=None)

    with pytest.raises(Fp8Unavailable, match=r"2\.9 or later, found an older one"):
        require_fp8(CUDA)


def test_what_the_library_says_is_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu(monkeypatch, (8, 9))
    answers = [(False, "CublasLt is too old"), (True, "")]
    installed(
        monkeypatch,
        autocast=None,
        is_fp8_available=lambda *, return_reason: answers.pop(0),
    )

    with pytest.raises(Fp8Unavailable, match="CublasLt is too old"):
        require_fp8(CUDA)
    assert require_fp8(CUDA) is sys.modules["transformer_engine.pytorch"]


def test_layers_of_other_widths_are_named(stand_in: ModuleType) -> None:
    odd = Network(replace(LLAMA, ffn_hidden_size=100))

    with pytest.raises(
        Fp8Unavailable, match=r"decoder\.layers\.0\.mlp\.linear_fc1 from 64 to 200"
    ):
        multiply_in_fp8(odd, CPU)
    assert not any(isinstance(each, StandInLinear) for each in odd.modules())


@pytest.mark.parametrize("tokens", [16, 5])
def test_the_layers_are_the_same_layers(
    network: Network, stand_in: ModuleType, tokens: int
) -> None:
    ids = torch.arange(2 * tokens).reshape(2, tokens)
    before, names = network(ids), set(dict(network.named_parameters()))

    multiply_in_fp8(network, CPU)

    after = network(ids)
    assert StandInLinear.calls.total() == 4 * LLAMA.num_layers
    assert set(dict(network.named_parameters())) == names
    # bfloat16 keeps 8 bits: about 0.4 % a product, on logits of up to about 3.
    torch.testing.assert_close(after, before, rtol=0.05, atol=0.1)
    assert not torch.equal(after, before)


def test_what_is_frozen_stays_frozen(network: Network, stand_in: ModuleType) -> None:
    add_lora(network, rank=4, alpha=8.0, dropout=0.0)
    multiply_in_fp8(network, CPU)

    learnt = {name for name, each in network.named_parameters() if each.requires_grad}
    assert len(learnt) == 4 * LLAMA.num_layers * 2
    assert all(name.endswith((".down", ".up")) for name in learnt)
    network(torch.arange(7)[None]).sum().backward()
    assert all(network.get_parameter(name).grad is not None for name in learnt)


@pytest.mark.parametrize("lora_rank", [8, 0])
def test_what_was_trained_in_fp8_is_a_checkpoint_like_any_other(
    stand_in: ModuleType, tmp_path: Path, lora_rank: int
) -> None:
    checkpoint = read_checkpoint(write_tiny(tmp_path / "checkpoint"))
    classes = np.arange(150) % 3
    rows = tuple(f"{chr(65 + i % 26)} {VERBS[each]}" for i, each in enumerate(classes))
    train = LabelledTexts(rows, classes)
    options = TrainingOptions(
        epochs=2,
        learning_rate=0.01 if lora_rank else 0.003,
        lora_rank=lora_rank,
        precision="fp8",
    )

    trained = finetune(
        checkpoint,
        byte_tokenizer(),
        train=train,
        dev=train,
        options=options,
        state=tmp_path / "state",
        device=CPU,
        watcher=Watcher(),
    )
    trained.write(tmp_path / "out")

    # Each step multiplies in FP8, each look at the dev rows does not.
    steps = 2 * -(-150 // 32)
    assert StandInLinear.calls[True] == steps * 4 * LLAMA.num_layers
    assert StandInLinear.calls[False] == len(trained.looks) * 4 * LLAMA.num_layers
    assert trained.looks[-1].said["accuracy"] > 0.9
    again = read_checkpoint(tmp_path / "out").weights
    assert again.keys() == checkpoint.weights.keys()
    for name, weight in trained.checkpoint.weights.items():
        assert torch.equal(again[name], weight), name
    changed = "decoder.layers.0.mlp.linear_fc1.weight"
    assert not torch.equal(again[changed], checkpoint.weights[changed])
