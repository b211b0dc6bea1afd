"""The transformer layer of Megatron, split so that only attention needs rows.

Projections, norms and MLPs work on any leading shape: ``[B, T]`` padded, or ``[N]`` packed
end to end.  Nothing branches on data, so that ``torch.export`` can trace any part.

Precision is a property of each part: a linear layer computes in its weight's dtype, the
residual stream keeps the dtype it came in, and norms and softmax are told.  In float32
throughout, none of that leaves a trace in the graph.

Source: megatron/core/transformer, whose names the modules carry.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from megatick_export.checkpoint import Architecture

Rotation = tuple[Tensor, Tensor]

_MASKED = -10000.0
"""Megatron's score of a forbidden pair (attention_mask_func).  exp() of it is 0 in every
precision here, yet it fits into FP16 and keeps a row with nothing to attend finite."""


@dataclass(frozen=True)
class Rounding:
    """What attention's arguments pass through, each right before its product.

    Attributes:
        query: of ``[B, heads, T, channels]``, times channels^-1/4.
        key: of ``[B, heads, channels, S]``, times channels^-1/4.
        value: of ``[B, heads, S, channels]``.
        weights: of ``[B, heads, T, S]``, the softmax's outputs, in [0, 1].
    """

    query: Callable[[Tensor], Tensor]
    key: Callable[[Tensor], Tensor]
    value: Callable[[Tensor], Tensor]
    weights: Callable[[Tensor], Tensor]


def attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor,
    *,
    wide_softmax: bool = False,
    rounding: Rounding | None = None,
) -> Tensor:
    """Attend within rows: softmax(q k / sqrt(channels)) v.

    Args:
        query: ``[B, T, heads, channels]``.
        key: ``[B, S, groups, channels]``; each group serves heads / groups query heads.
        value: as key.
        mask: bool, broadcastable to ``[B, heads, T, S]``; True where a query (third
            axis) may look at a key (fourth).
        wide_softmax: compute the softmax in float32 whatever the products are in.
        rounding: what the two products' arguments pass through.

    Returns:
        ``[B, T, heads * channels]``.
    """
    explicit = wide_softmax or rounding is not None or query.dtype != torch.float32
    served = query.shape[-2] // key.shape[-2]
    if explicit:
        key, value = _repeated(key, served), _repeated(value, served)
    query, key, value = (tensor.transpose(1, 2) for tensor in (query, key, value))
    bias = torch.where(mask, 0.0, _MASKED)
    if explicit:
        # Half of the scale to each side, so that no product overflows FP16.
        scale: float = query.shape[-1] ** -0.25
        query, key = query * scale, (key * scale).transpose(-2, -1)
        if rounding is not None:
            query, key = rounding.query(query), rounding.key(key)
            value = rounding.value(value)
        scores = query @ key
        if wide_softmax:
            scores = scores.float()
        weights = (scores + bias.to(scores.dtype)).softmax(-1).to(value.dtype)
        if rounding is not None:
            weights = rounding.weights(weights)
        attended: Tensor = weights @ value
    else:
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask=bias, enable_gqa=served > 1
        )
    return attended.transpose(1, 2).flatten(-2)


def causal_mask(length: int, *, device: torch.device | None = None) -> Tensor:
    """Let each of ``length`` tokens see itself and those before it: bool [1, 1, T, T]."""
    positions = torch.arange(length, device=device)
    return (positions[:, None] >= positions)[None, None]


def rotate(heads: Tensor, rotation: Rotation, *, interleaved: bool) -> Tensor:
    """Rotate the leading channels of each head by its token's position.

    On packed tokens it is on four axes, and cuts by slices: so OpenVINO's CPU plugin finds
    a rotation in it, and runs it as one kernel instead of six.

    Args:
        heads: ``[..., groups, heads of a group, channels]``.
        rotation: cosine and sine, each ``[..., rotary_dim]``.
        interleaved: pairs are (0, 1), (2, 3) ... rather than (0, d/2), (1, d/2 + 1) ...

    Source: megatron/core/models/common/embeddings/rope_utils.py.
    """
    cosine, sine = (part[..., None, None, :].to(heads.dtype) for part in rotation)
    width = cosine.shape[-1]
    turned, kept = heads[..., :width], heads[..., width:]
    if interleaved:
        swapped = torch.stack((-turned[..., 1::2], turned[..., ::2]), dim=-1).flatten(-2)
    else:
        half = width // 2
        swapped = torch.cat((-turned[..., half:], turned[..., :half]), dim=-1)
    turned = turned * cosine + swapped * sine
    # An empty remainder would be an empty tensor in every exported layer.
    return torch.cat((turned, kept), dim=-1) if kept.shape[-1] else turned


class Linear(nn.Linear):
    """A linear layer that computes, and answers, in the dtype of its weight."""

    def forward(self, given: Tensor) -> Tensor:
        """Map ``[..., in]`` to ``[..., out]``."""
        return F.linear(given.to(self.weight.dtype), self.weight, self.bias)


class Norm(nn.Module):
    """LayerNorm or RMSNorm over the last axis.

    Attributes:
        wide: compute in float32 whatever goes in; otherwise in the dtype that goes in.
    """

    def __init__(self, architecture: Architecture, width: int) -> None:
        super().__init__()
        self.wide = True
        self.epsilon = architecture.norm_epsilon
        self.zero_centered = architecture.zero_centered_gamma
        self.weight = nn.Parameter(torch.empty(width))
        has_bias = architecture.normalization == "LayerNorm"
        self.bias = nn.Parameter(torch.empty(width)) if has_bias else None

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise ``[..., width]``."""
        dtype = torch.float32 if self.wide else hidden.dtype
        gamma = self.weight.to(dtype) + (1.0 if self.zero_centered else 0.0)
        given = hidden.to(dtype)
        if self.bias is not None:
            shape = (given.shape[-1],)
            normed = F.layer_norm(given, shape, gamma, self.bias.to(dtype), self.epsilon)
        else:
            mean_square = given.square().mean(dim=-1, keepdim=True)
            normed = given * torch.rsqrt(mean_square + self.epsilon) * gamma
        return normed.to(hidden.dtype)


class CoreAttention(nn.Module):
    """Attention itself, in a layer's precision.

    Attributes:
        wide_softmax: compute the softmax in float32.
    """

    def __init__(self) -> None:
        super().__init__()
        self.wide_softmax = False

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Call ``attention``; arguments and result are its."""
        return attention(query, key, value, mask, wide_softmax=self.wide_softmax)


class SelfAttention(nn.Module):
    """What stands before and after attention, and attention itself."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.core_attention = CoreAttention()
        self.linear_qkv = Linear(a.hidden_size, a.qkv_rows, bias=a.qkv_bias)
        width = a.num_attention_heads * a.kv_channels
        self.linear_proj = Linear(width, a.hidden_size, bias=a.linear_bias)
        if a.qk_norm:
            self.q_layernorm = Norm(a, a.kv_channels)
            self.k_layernorm = Norm(a, a.kv_channels)

    def project(
        self, normed: Tensor, rotation: Rotation | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make queries, keys and values of ``[..., hidden]``, normed and rotated."""
        a = self.architecture
        groups, served = a.num_query_groups, a.num_attention_heads // a.num_query_groups
        qkv = self.linear_qkv(normed).unflatten(-1, (groups, served + 2, a.kv_channels))
        query, key, value = qkv.split((served, 1, 1), dim=-2)  # [..., groups, n, hn]
        if a.qk_norm:
            query, key = self.q_layernorm(query), self.k_layernorm(key)
        if rotation is not None:
            query = rotate(query, rotation, interleaved=a.rotary_interleaved)
            key = rotate(key, rotation, interleaved=a.rotary_interleaved)
        return query.flatten(-3, -2), key.flatten(-3, -2), value.flatten(-3, -2)


class Mlp(nn.Module):
    """fc2(activation(fc1)), or fc2(activation(gate) * up)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.activation, self.gated = a.activation, a.gated
        rows = a.ffn_hidden_size * (2 if a.gated else 1)
        self.linear_fc1 = Linear(a.hidden_size, rows, bias=a.linear_bias)
        self.linear_fc2 = Linear(a.ffn_hidden_size, a.hidden_size, bias=a.linear_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        """Map ``[..., hidden]`` to ``[..., hidden]``."""
        wide = self.linear_fc1(hidden)
        if self.gated:
            gate, up = wide.chunk(2, dim=-1)
            wide = self._activate(gate) * up
        else:
            wide = self._activate(wide)
        narrow: Tensor = self.linear_fc2(wide)
        return narrow

    def _activate(self, wide: Tensor) -> Tensor:
        match self.activation:
            case "gelu_tanh":
                return F.gelu(wide, approximate="tanh")
            case "gelu":
                return F.gelu(wide)
            case "squared_relu":
                return F.relu(wide).square()
            case "silu":
                return F.silu(wide)


class TransformerLayer(nn.Module):
    """One pre-LN layer, split around its attention so that only that needs rows."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        hidden = architecture.hidden_size
        self.input_layernorm = Norm(architecture, hidden)
        self.self_attention = SelfAttention(architecture)
        self.pre_mlp_layernorm = Norm(architecture, hidden)
        self.mlp = Mlp(architecture)

    def project(
        self, hidden: Tensor, rotation: Rotation | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Make what attention reads.

        Args:
            hidden: ``[..., hidden]``.
            rotation: what ``Network.rotation`` gave for these tokens.

        Returns:
            query ``[..., heads, channels]``, key and value ``[..., groups, channels]``.
        """
        return self.self_attention.project(self.input_layernorm(hidden), rotation)

    def finish(self, hidden: Tensor, attended: Tensor) -> Tensor:
        """Add what attention found, then the MLP.

        Args:
            hidden: ``[..., hidden]``, as given to ``project``.
            attended: ``[..., heads * channels]``.

        Returns:
            ``[..., hidden]``, the next layer's input.
        """
        projected: Tensor = self.self_attention.linear_proj(attended)
        hidden = hidden + projected.to(hidden.dtype)
        narrow: Tensor = self.mlp(self.pre_mlp_layernorm(hidden))
        return hidden + narrow.to(hidden.dtype)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """Attend in this layer's precision; arguments and result are ``attention``'s."""
        attended: Tensor = self.self_attention.core_attention(query, key, value, mask)
        return attended


def _repeated(tensor: Tensor, times: int) -> Tensor:
    """Repeat each of ``[B, T, groups, channels]``'s groups; itself for 1."""
    if times == 1:
        return tensor
    groups = tensor.unsqueeze(-2).expand(*([-1] * 3), times, -1)
    return groups.flatten(-3, -2)
