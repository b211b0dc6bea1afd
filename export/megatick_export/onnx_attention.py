"""How float32 attention is written in ONNX, for CPUs to fuse.

The exporter's own way of writing it repeats keys and values for the query heads that share
them, and turns keys about twice.  Here the queries of a group stand one head below the
other instead, so that nothing is repeated, and the scale follows the product, where there
is less to multiply.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

import torch
from onnxscript import opset20 as op


def _attention(
    query: Any,
    key: Any,
    value: Any,
    attn_mask: Any,
    *,
    enable_gqa: bool = False,
) -> Any:
    """softmax(q k / sqrt(channels) + mask) v, as ``scaled_dot_product_attention``.

    Args:
        query: ``[B, heads, T, channels]``.
        key: ``[B, groups, S, channels]``; heads is a multiple of groups.
        value: as key.
        attn_mask: float, added; broadcastable to ``[B, 1, T, S]``: one for all heads.
        enable_gqa: whether a group may serve several heads.
    """
    heads, channels = query.shape[1], query.shape[3]
    served = heads // key.shape[1] if enable_gqa else 1
    if served > 1:
        query = op.Reshape(query, _below(key.shape[1], channels))
        if attn_mask.shape[-2] != 1:
            attn_mask = op.Concat(*[attn_mask] * served, axis=-2)
    scores = op.MatMul(query, op.Transpose(key, perm=[0, 1, 3, 2]))
    scores = op.Add(op.Mul(scores, 1 / math.sqrt(channels)), attn_mask)
    attended = op.MatMul(op.Softmax(scores, axis=-1), value)
    if served > 1:
        attended = op.Reshape(attended, _below(heads, channels))
    return attended


def _below(heads: int, channels: int) -> Any:
    """The shape [B, heads, whatever is left, channels]; ONNX copies an axis for a 0."""
    return op.Constant(value_ints=[0, heads, -1, channels])


ATTENTION_TRANSLATIONS: Final[dict[Callable[..., Any], Callable[..., Any]]] = {
    torch.ops.aten.scaled_dot_product_attention.default: _attention,
}
"""For ``torch.onnx.export``, what attention becomes."""
