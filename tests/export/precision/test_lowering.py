"""What is said to be float32 computes in float32, and nothing else does."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench import ROWS, tiny_network, workbench
from torch.utils._python_dispatch import TorchDispatchMode

from megatick_export import Network
from megatick_export.packed import PackedClassifier
from megatick_export.parity import Rows, torch_engine
from megatick_export.precision.lowering import PARTS, Part, lowered

HALF, WIDE = torch.float16, torch.float32
LINEARS = (
    *("self_attention.linear_qkv", "self_attention.linear_proj"),
    *("mlp.linear_fc1", "mlp.linear_fc2"),
)


_PARTS = {
    "softmax": "softmax",
    "scaled_dot_product_attention": "softmax",
    "layer_norm": "norms",
    "rsqrt": "norms",
}
"""By torch's operators."""


class Watch(TorchDispatchMode):
    """Notes the dtypes that softmaxes and the norms' means read."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: dict[str, set[torch.dtype]] = defaultdict(set)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        part = _PARTS.get(func.overloadpacket.__name__)
        if part:
            self.seen[part].add(args[0].dtype)
        return func(*args, **(kwargs or {}))


def dtypes(network: Network, rows: Rows) -> dict[str, set[torch.dtype]]:
    """Run rows, and see in what each part computes: a linear layer by its output."""
    watch = Watch()
    hooks = []

    def note(name: str) -> Any:
        return lambda module, given, answer: watch.seen[name].add(answer.dtype)

    def note_stream(module: Any, given: tuple[torch.Tensor, ...]) -> None:
        watch.seen["residual stream"].add(given[0].dtype)

    for number, layer in enumerate(network.layers):
        hooks.append(layer.input_layernorm.register_forward_pre_hook(note_stream))
        hooks += [
            layer.get_submodule(name).register_forward_hook(note(f"linear {number}"))
            for name in LINEARS
        ]
    hooks.append(network.classification_head.register_forward_hook(note("head")))
    with watch:
        torch_engine(PackedClassifier(network))(ROWS)
    for hook in hooks:
        hook.remove()
    return dict(watch.seen)


@pytest.mark.parametrize("kept", [PARTS[:n] for n in range(4)], ids=str)
@pytest.mark.parametrize("name", ["llama", "gpt2", "bert"])
def test_each_part_computes_in_what_it_is_said_to(
    name: str, kept: tuple[Part, ...]
) -> None:
    network = lowered(tiny_network(name), HALF, float32=kept)

    found = dtypes(network, ROWS[:4])

    for part in PARTS:
        expected = WIDE if part in kept else HALF
        assert found[part] == {expected}, part
    assert {each for n in range(2) for each in found[f"linear {n}"]} == {HALF}
    assert found["head"] == {WIDE}


def test_the_float32_network_is_left_as_it_is() -> None:
    network = tiny_network("gpt2")
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}

    lowered(network, torch.bfloat16)

    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name])
    assert {tensor.dtype for tensor in network.state_dict().values()} == {WIDE}
    assert network.layers[0].input_layernorm.wide


@pytest.mark.parametrize(
    ("dtype", "epsilon"), [(torch.float16, 2**-10), (torch.bfloat16, 2**-7)], ids=str
)
def test_the_answers_are_the_networks_within_the_precision(
    dtype: torch.dtype, epsilon: float
) -> None:
    network = tiny_network("llama")
    exact = torch_engine(PackedClassifier(network))(ROWS).logits

    found = torch_engine(PackedClassifier(lowered(network, dtype)))(ROWS).logits

    # Some dozen roundings of half an epsilon add up; float32 would be far below.
    error = float(np.abs(found - exact).max() / np.abs(exact).max())
    assert epsilon / 20 < error < 10 * epsilon


def loud(network: Network) -> Network:
    """Make the residual stream's values some hundreds: their squares overflow FP16."""
    weights = network.state_dict()
    for name, tensor in weights.items():
        if name.endswith(("word_embeddings.weight", "linear_proj.weight")):
            tensor *= 4000
        elif name.endswith("linear_fc2.weight"):
            tensor *= 2000
    return network


def test_norms_that_overflow_fp16_are_found_and_kept(
    tmp_path: Path,
) -> None:
    network = loud(tiny_network("llama"))
    stream: list[float] = []
    hook = network.layers[1].input_layernorm.register_forward_pre_hook(
        lambda module, given: stream.append(given[0].abs().max().item())
    )
    torch_engine(PackedClassifier(network))(ROWS)
    hook.remove()
    assert 256 < max(stream) < 65504, "squares overflow, the values do not"

    candidate = workbench(network, tmp_path).candidate("fp16")

    assert candidate.float32 == ("norms",)
    exact = torch_engine(PackedClassifier(network))(ROWS).logits
    np.testing.assert_allclose(candidate.engine(ROWS).logits, exact, atol=0.1)


def test_nothing_is_kept_where_nothing_overflows(
    tmp_path: Path,
) -> None:
    kept: Collection[str] = workbench(tiny_network("llama"), tmp_path)._kept_parts(HALF)

    assert kept == ()
