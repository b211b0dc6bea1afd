"""Low-rank adapters on a network's linear layers, and what is left of them in the weights.

Source: Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, section
4.1: W + (alpha / r)·B·A, with A random and B zero at first, so that training begins at the
model itself.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping

import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from megatick_export.network import Network
from megatick_export.transformer import Linear

Weights = dict[str, Tensor]

DOWN, UP = ".lora_down", ".lora_up"
"""What follows a weight's name in an adapter: A [r, in], and (alpha / r)·B [out, r]."""


class LoraLinear(nn.Module):
    """A frozen linear layer, and beside it a product of two thin ones that are trained."""

    def __init__(self, base: Linear, *, rank: int, alpha: float, dropout: float) -> None:
        """Begin as the layer itself.

        Args:
            base: the layer, which is not changed.
            rank: of the product, ≥ 1.
            alpha: the product is multiplied by alpha / rank.
            dropout: share of its inputs that are left out in training, in [0, 1).
        """
        super().__init__()
        self.base = base
        self.scale = alpha / rank
        self.dropout = nn.Dropout(dropout)
        self.down = nn.Parameter(base.weight.new_empty(rank, base.in_features))
        self.up = nn.Parameter(base.weight.new_zeros(base.out_features, rank))
        nn.init.kaiming_uniform_(self.down, a=math.sqrt(5))
        self.train(base.training)

    def forward(self, given: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``."""
        thin = F.linear(self.dropout(given).to(self.down.dtype), self.down)
        plain: Tensor = self.base(given)
        return plain + F.linear(thin, self.up) * self.scale


def add_lora(network: Network, *, rank: int, alpha: float, dropout: float) -> None:
    """Put an adapter on every linear layer of every transformer layer, in place."""
    for layer in network.layers:
        for module in (layer.self_attention, layer.mlp):
            for name, child in list(module.named_children()):
                if isinstance(child, Linear):
                    adapted = LoraLinear(child, rank=rank, alpha=alpha, dropout=dropout)
                    setattr(module, name, adapted)


def lora_layers(network: Network) -> Iterator[tuple[str, LoraLinear]]:
    """Give each adapted layer with its weight's canonical name."""
    for name, module in network.named_modules():
        if isinstance(module, LoraLinear):
            yield f"{name}.weight", module


def adapter_of(network: Network) -> Weights:
    """Copy what was trained, the scale multiplied in: two tensors a layer, float32."""
    adapter: Weights = {}
    for name, layer in lora_layers(network):
        adapter[name + DOWN] = layer.down.detach().float().clone()
        adapter[name + UP] = layer.up.detach().float() * layer.scale
    return adapter


def merged(weights: Mapping[str, Tensor], adapter: Mapping[str, Tensor]) -> Weights:
    """Add an adapter's products to the weights that they belong to.

    Args:
        weights: by canonical name.
        adapter: as ``adapter_of`` gives it, in any floating dtype.

    Returns:
        All weights; those without an adapter are the same tensors.

    Raises:
        KeyError: the adapter names a weight that is not there.
        ValueError: a product has another shape than its weight.
    """
    result = dict(weights)
    for name in (key.removesuffix(DOWN) for key in adapter if key.endswith(DOWN)):
        product = adapter[name + UP].float() @ adapter[name + DOWN].float()
        weight = weights[name]
        if product.shape != weight.shape:
            raise ValueError(
                f"the adapter of {name} has shape {tuple(product.shape)}, expected "
                f"{tuple(weight.shape)}"
            )
        result[name] = (weight.float() + product).to(weight.dtype)
    return result
