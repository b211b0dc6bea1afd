"""Joining the shards of tensor and pipeline parallelism into one model.

Tensor parallelism cuts a tensor by rows or by columns; what it does not cut, every rank
holds whole.  Pipeline parallelism gives each stage a run of layers that the stage
numbers from 0; with virtual stages every rank holds several runs (``model0``, ``model1``
...), and the model's order goes over the ranks first, then over the runs.

Source: megatron/core/transformer/transformer_layer.py ``get_transformer_layer_offset``,
and files of each layout with the logits of the model that wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import torch

from megatick_export.errors import CheckpointError

Tensors = Mapping[str, torch.Tensor]

_LAYER: Final = re.compile(r"decoder\.layers\.(\d+)\.(.+)")
_CUT_BY_ROWS: Final = (
    "linear_qkv.weight",
    "linear_qkv.bias",
    "linear_fc1.weight",
    "linear_fc1.bias",
    "word_embeddings.weight",
    "output_layer.weight",
    "output_layer.bias",
)
_CUT_BY_COLUMNS: Final = ("linear_proj.weight", "linear_fc2.weight")


def join_stages(stages: Iterable[Tensors]) -> dict[str, torch.Tensor]:
    """Number the layers of all stages over the whole model.

    Args:
        stages: canonical names with layers counted within the stage, in model order.
    """
    model: dict[str, torch.Tensor] = {}
    done = 0
    for stage in stages:
        layers: set[int] = set()
        for name, tensor in stage.items():
            layer = _LAYER.fullmatch(name)
            if layer:
                layers.add(int(layer[1]))
                name = f"decoder.layers.{done + int(layer[1])}.{layer[2]}"
            model.setdefault(name, tensor)
        done += len(layers)
    return model


def join_ranks(
    ranks: Sequence[Tensors], *, gated: bool, path: Path
) -> dict[str, torch.Tensor]:
    """Join one stage's tensors over its tensor-parallel ranks.

    A tensor that every rank holds whole is taken from the first, as Megatron's own
    converters do.

    Raises:
        CheckpointError: the ranks do not hold tensors of the same names and shapes.
    """
    shapes = [{(name, tensor.shape) for name, tensor in rank.items()} for rank in ranks]
    for number, other in enumerate(shapes):
        if other != shapes[0]:
            raise CheckpointError(
                path,
                tensor=min(name for name, _ in other ^ shapes[0]),
                expected="the same names and shapes on every tensor-parallel rank",
                found=f"a difference between rank 0 and rank {number}",
                hint="Do all files come from one iteration of one run?",
            )
    return {
        name: _join([rank[name] for rank in ranks], name, gated=gated) for name in ranks[0]
    }


def _join(shards: list[torch.Tensor], name: str, *, gated: bool) -> torch.Tensor:
    first = shards[0]
    # What cannot have been cut this way is refused with all other wrong shapes.
    if len(shards) == 1 or first.dim() == 0:
        return first
    if name.endswith(_CUT_BY_COLUMNS):
        return torch.cat(shards, dim=1) if first.dim() == 2 else first
    if gated and ".linear_fc1." in name:
        if len(first) % 2:
            return first
        # Each rank holds [its gate; its up]; the whole is [all gates; all ups].
        gates, ups = zip(*(shard.chunk(2) for shard in shards), strict=True)
        return torch.cat([*gates, *ups])
    return torch.cat(shards) if name.endswith(_CUT_BY_ROWS) else first


def grouped_qkv(qkv: torch.Tensor, *, version: float, heads: int) -> torch.Tensor:
    """Reorder one rank's QKV rows to ``[heads, (q, k, v), channels]``.

    Version 0 stored ``[(q, k, v), heads, channels]`` and version 1 ``[heads, channels,
    (q, k, v)]``; from 2 on the order is Megatron-core's.  Only multi-head attention
    existed then.  A rank's rows must be reordered before the ranks are joined.

    Args:
        qkv: weight ``[rows, hidden]`` or bias ``[rows]``.
        version: the file's ``checkpoint_version``; 0 where it has none.
        heads: query heads on this rank.

    Source: ``fix_query_key_value_ordering`` of Megatron-LM's checkpointing.py.
    """
    channels, rest = divmod(qkv.shape[0] if qkv.dim() else 1, 3 * heads)
    if version >= 2 or rest:  # rows that do not fit are refused with all other shapes
        return qkv
    if version >= 1:
        split = qkv.view(heads, channels, 3, *qkv.shape[1:]).transpose(1, 2)
    else:
        split = qkv.view(3, heads, channels, *qkv.shape[1:]).transpose(0, 1)
    return split.reshape(qkv.shape)
