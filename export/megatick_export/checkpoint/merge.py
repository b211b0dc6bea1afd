"""Joining the shards of tensor and pipeline parallelism into one model.

Tensor parallelism cuts a tensor by rows or by columns; what it does not cut, every rank
holds whole.  Pipeline parallelism gives each stage a run of layers that the stage
numbers from 0; with virtual stages every rank holds several runs (``model0``, ``model1``
...), and the model's order goes over the ranks first, then over the runs.  How many layers
a run has is counted, so uneven splits need no arg.  Nothing is read here: what is joined
is a plan.

Source: megatron/core/transformer/transformer_layer.py ``get_transformer_layer_offset``,
and files of each layout with the logits of the model that wrote them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import torch

from megatick_export.checkpoint.deferred import Deferred, Tensors, concatenated
from megatick_export.errors import CheckpointError

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


def join_stages(stages: Iterable[Tensors]) -> dict[str, Deferred]:
    """Number the layers of all stages over the whole model.

    Args:
        stages: canonical names with layers counted within the stage, in model order.
    """
    model: dict[str, Deferred] = {}
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


def join_ranks(ranks: Sequence[Tensors], *, path: Path) -> dict[str, Deferred]:
    """Join one stage's tensors over its tensor-parallel ranks.

    A tensor that every rank holds whole is taken from the first, as Megatron's own
    converters do.

    Raises:
        CheckpointError: the ranks do not hold tensors of the same names, shapes and
            dtypes.
    """
    kinds = [{(name, t.shape, t.dtype) for name, t in rank.items()} for rank in ranks]
    for number, other in enumerate(kinds):
        if other != kinds[0]:
            raise CheckpointError(
                path,
                tensor=min(name for name, _, _ in other ^ kinds[0]),
                expected="the same names, shapes and dtypes on every tensor-parallel rank",
                found=f"a difference between rank 0 and rank {number}",
                hint="Do all files come from one iteration of one run?",
            )
    return {
        name: _join([rank[name] for rank in ranks], name, gated=_is_gated(name, ranks[0]))
        for name in ranks[0]
    }


def _is_gated(name: str, rank: Tensors) -> bool:
    """Tell from the shapes whether fc1 gives twice what fc2 takes."""
    mlp, found, _ = name.partition(".linear_fc1.")
    fc2 = rank.get(f"{mlp}.linear_fc2.weight")
    if not found or fc2 is None or len(fc2.shape) != 2:
        return False
    return rank[name].shape[:1] == (2 * fc2.shape[1],)


def _join(shards: list[Deferred], name: str, *, gated: bool) -> Deferred:
    first = shards[0]
    # What cannot have been cut this way is refused with all other wrong shapes.
    if len(shards) == 1 or not first.shape:
        return first
    if name.endswith(_CUT_BY_COLUMNS):
        return concatenated(shards, dim=1) if len(first.shape) == 2 else first
    if gated:
        return _joined_halves(shards)
    return concatenated(shards) if name.endswith(_CUT_BY_ROWS) else first


def _joined_halves(shards: list[Deferred]) -> Deferred:
    """Join fc1: each rank holds [its gate; its up], the whole is [all gates; all ups]."""
    rows = shards[0].shape[0]
    shape = (rows * len(shards), *shards[0].shape[1:])

    def load(kept: bool) -> torch.Tensor:
        whole = torch.empty(shape, dtype=shards[0].dtype)
        halves = whole.view(2, len(shards), rows // 2, *shape[1:])
        for number, shard in enumerate(shards):
            halves[:, number] = shard.load(False).view(2, rows // 2, *shape[1:])
        return whole

    return Deferred(shape, shards[0].dtype, load)


def grouped_qkv(qkv: Deferred, *, version: float, heads: int) -> Deferred:
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
    channels, rest = divmod(qkv.shape[0] if qkv.shape else 1, 3 * heads)
    if version >= 2 or rest:  # rows that do not fit are refused with all other shapes
        return qkv

    def load(kept: bool) -> torch.Tensor:
        rows = qkv.load(False)
        if version >= 1:
            split = rows.view(heads, channels, 3, *rows.shape[1:]).transpose(1, 2)
        else:
            split = rows.view(3, heads, channels, *rows.shape[1:]).transpose(0, 1)
        return split.reshape(qkv.shape)

    return Deferred(qkv.shape, qkv.dtype, load)
