"""A network in FP16 or BF16, with the parts that must be kept in float32."""

from __future__ import annotations

from collections.abc import Collection
from typing import Final, Literal, get_args

import torch

from megatick_export.network import Network
from megatick_export.transformer import CoreAttention, Norm

Part = Literal["norms", "softmax", "residual stream"]

PARTS: Final[tuple[Part, ...]] = get_args(Part)
"""What may be kept in float32, in the order in which keeping it is tried.  A norm squares
what it reads and overflows FP16 (65504) from 256 on; the softmax takes exponentials; the
residual stream is what every layer adds to, and is rounded at each addition."""


def lowered(
    network: Network,
    dtype: torch.dtype,
    *,
    float32: Collection[Part] = (),
) -> Network:
    """Copy a float32 network into a 16-bit precision.

    Args:
        network: in float32; it is left as it is.
        dtype: ``torch.float16`` or ``torch.bfloat16``.
        float32: parts that compute in float32.  With the residual stream, everything
            but the products of linear layers and attention does.

    Returns:
        A network of the same names.  The classification head stays in float32: it is
        three rows, and its sums decide the label.
    """
    wide_stream = "residual stream" in float32
    weights = {
        name: tensor
        if name.startswith("classification_head.")
        or (wide_stream and ("norm" in name or name.startswith("embedding.")))
        else tensor.to(dtype)
        for name, tensor in network.state_dict().items()
    }
    with torch.device("meta"):
        copy = Network(network.architecture)
    copy.load_state_dict(weights, assign=True)
    copy.stream_dtype = torch.float32 if wide_stream else dtype
    for module in copy.modules():
        if isinstance(module, Norm):
            module.wide = "norms" in float32
        elif isinstance(module, CoreAttention):
            module.wide_softmax = "softmax" in float32
    return copy.eval().requires_grad_(requires_grad=False)
