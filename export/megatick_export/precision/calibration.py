"""How large the inputs of linear layers and attention get on real text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

from megatick_export.packed import PackedClassifier
from megatick_export.parity import Rows, torch_engine
from megatick_export.precision.fp8 import ATTENDED, LINEARS


def largest_inputs(
    classifier: PackedClassifier, batches: Iterable[Rows]
) -> dict[str, float]:
    """Run text through a float32 classifier and watch what its layers read.

    Args:
        classifier: over a float32 network.
        batches: tokens of the calibration texts, a packed batch at a time.

    Returns:
        The largest absolute value that each linear layer and each of attention's queries,
        keys and values took, by name (``decoder.layers.0.mlp.linear_fc1``,
        ``decoder.layers.0.self_attention.core_attention.query``, …).
    """
    found: dict[str, float] = {}
    watching = []
    for number, layer in enumerate(classifier.network.layers):
        prefix = f"decoder.layers.{number}."
        for name in LINEARS:
            module = layer.get_submodule(name)
            watching.append(_watch(module, found, (prefix + name,)))
        attended = tuple(prefix + name for name in ATTENDED)
        watching.append(_watch(layer.self_attention.core_attention, found, attended))
    try:
        run = torch_engine(classifier)
        for batch in batches:
            run(batch)
    finally:
        for watch in watching:
            watch.remove()
    return found


def _watch(module: nn.Module, found: dict[str, float], names: tuple[str, ...]) -> Any:
    """Note the largest absolute value of a module's first arguments."""

    def note(_: nn.Module, given: tuple[Any, ...]) -> None:
        for name, tensor in zip(names, given, strict=False):
            found[name] = max(found.get(name, 0.0), tensor.abs().max().item())

    hook: Callable[..., None] = note
    return module.register_forward_pre_hook(hook)
