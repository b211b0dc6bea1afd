"""A whole model cut into the parts that Megatron's ranks hold."""

from __future__ import annotations

import re

import torch

Weights = dict[str, torch.Tensor]


def of_rank(weights: Weights, rank: int, ranks: int, *, gated: bool) -> Weights:
    """One tensor-parallel rank's part of every tensor."""
    part = {}
    for name, tensor in weights.items():
        if name.endswith(("linear_proj.weight", "linear_fc2.weight")):
            cut = tensor.chunk(ranks, dim=1)[rank]
        elif gated and "linear_fc1" in name:
            cut = torch.cat([half.chunk(ranks)[rank] for half in tensor.chunk(2)])
        elif re.search("norm|position|linear_proj.bias|linear_fc2.bias", name):
            cut = tensor
        else:
            cut = tensor.chunk(ranks)[rank]
        part[name] = cut.clone()
    return part


def of_stage(weights: Weights, layers: range, *, first: bool, last: bool) -> Weights:
    """One pipeline stage's tensors, its layers counted from 0."""
    part = {}
    for name, tensor in weights.items():
        layer = re.match(r"decoder\.layers\.(\d+)\.", name)
        if layer and int(layer[1]) in layers:
            number = int(layer[1]) - layers.start
            renamed = name.replace(f"layers.{layer[1]}.", f"layers.{number}.")
            part[renamed] = tensor
        elif not layer and (first if name.startswith("embedding") else last):
            part[name] = tensor
    return part
