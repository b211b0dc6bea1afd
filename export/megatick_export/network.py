"""The reference network: a Megatron model in plain PyTorch, float32, for inference.

The module tree carries Megatron's canonical names, so ``load_state_dict`` takes a
checkpoint's weights and ``state_dict`` gives them back.  Projections, norms and MLPs
work on any leading shape: ``[B, T]`` padded, as ``Network.forward`` runs them, or ``[N]``
packed end to end; only ``attention`` needs rows.  Nothing branches on data, so that
``torch.export`` can trace any part.

Sources: megatron/core/models/{gpt,bert}, megatron/core/transformer; held to the logits
that Megatron itself computed to 5e-5.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from megatick_export.checkpoint import Architecture, Checkpoint

Rotation = tuple[Tensor, Tensor]

_MASKED = -10000.0
"""Megatron's score of a forbidden pair (attention_mask_func).  exp() of it is 0 in every
precision here, yet it fits into FP16 and keeps a row with nothing to attend finite."""


def reference_network(checkpoint: Checkpoint) -> Network:
    """Build the network of a checkpoint, in float32 and evaluation mode.

    Float32 weights are shared with the checkpoint, not copied.
    """
    with torch.device("meta"):
        network = Network(checkpoint.architecture)
    weights = {name: tensor.float() for name, tensor in checkpoint.weights.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def attention(query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Attend within rows: softmax(q k / sqrt(channels)) v.

    Args:
        query: ``[B, T, heads, channels]``.
        key: ``[B, T, groups, channels]``; each group serves heads / groups query heads.
        value: as key.
        mask: bool, broadcastable to ``[B, heads, T, T]``; True where a query (third
            axis) may look at a key (fourth).

    Returns:
        ``[B, T, heads * channels]``.
    """
    served = query.shape[-2] // key.shape[-2]
    query, key, value = (
        tensor.transpose(1, 2)
        for tensor in (query, _repeated(key, served), _repeated(value, served))
    )
    bias = torch.where(mask, 0.0, _MASKED).to(query.dtype)
    attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
    return attended.transpose(1, 2).flatten(-2)


def causal_mask(length: int, *, device: torch.device | None = None) -> Tensor:
    """Let each of ``length`` tokens see itself and those before it: bool [1, 1, T, T]."""
    positions = torch.arange(length, device=device)
    return (positions[:, None] >= positions)[None, None]


def rotate(heads: Tensor, rotation: Rotation, *, interleaved: bool) -> Tensor:
    """Rotate the leading channels of each head by its token's position.

    Args:
        heads: ``[..., heads, channels]``.
        rotation: cosine and sine, each ``[..., rotary_dim]``.
        interleaved: pairs are (0, 1), (2, 3) ... rather than (0, d/2), (1, d/2 + 1) ...

    Source: megatron/core/models/common/embeddings/rope_utils.py.
    """
    cosine, sine = (part.unsqueeze(-2).to(heads.dtype) for part in rotation)
    width = cosine.shape[-1]
    turned, kept = heads[..., :width], heads[..., width:]
    if interleaved:
        swapped = torch.stack((-turned[..., 1::2], turned[..., ::2]), dim=-1).flatten(-2)
    else:
        first, second = turned.chunk(2, dim=-1)
        swapped = torch.cat((-second, first), dim=-1)
    turned = turned * cosine + swapped * sine
    # An empty remainder would be an empty tensor in every exported layer.
    return torch.cat((turned, kept), dim=-1) if kept.shape[-1] else turned


class Norm(nn.Module):
    """LayerNorm or RMSNorm over the last axis; computed in float32 whatever goes in."""

    def __init__(self, architecture: Architecture, width: int) -> None:
        super().__init__()
        self.epsilon = architecture.norm_epsilon
        self.zero_centered = architecture.zero_centered_gamma
        self.weight = nn.Parameter(torch.empty(width))
        has_bias = architecture.normalization == "LayerNorm"
        self.bias = nn.Parameter(torch.empty(width)) if has_bias else None

    def forward(self, hidden: Tensor) -> Tensor:
        """Normalise ``[..., width]``."""
        gamma = self.weight.float() + (1.0 if self.zero_centered else 0.0)
        wide = hidden.float()
        if self.bias is not None:
            shape = (wide.shape[-1],)
            normed = F.layer_norm(wide, shape, gamma, self.bias.float(), self.epsilon)
        else:
            mean_square = wide.square().mean(dim=-1, keepdim=True)
            normed = wide * torch.rsqrt(mean_square + self.epsilon) * gamma
        return normed.to(hidden.dtype)


class SelfAttention(nn.Module):
    """What stands before and after ``attention`` itself."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.architecture = a
        self.linear_qkv = nn.Linear(a.hidden_size, a.qkv_rows, bias=a.qkv_bias)
        width = a.num_attention_heads * a.kv_channels
        self.linear_proj = nn.Linear(width, a.hidden_size, bias=a.linear_bias)
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
        query, key, value = (part.flatten(-3, -2) for part in (query, key, value))
        if a.qk_norm:
            query, key = self.q_layernorm(query), self.k_layernorm(key)
        if rotation is not None:
            query = rotate(query, rotation, interleaved=a.rotary_interleaved)
            key = rotate(key, rotation, interleaved=a.rotary_interleaved)
        return query, key, value


class Mlp(nn.Module):
    """fc2(activation(fc1)), or fc2(activation(gate) * up)."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        self.activation, self.gated = a.activation, a.gated
        rows = a.ffn_hidden_size * (2 if a.gated else 1)
        self.linear_fc1 = nn.Linear(a.hidden_size, rows, bias=a.linear_bias)
        self.linear_fc2 = nn.Linear(a.ffn_hidden_size, a.hidden_size, bias=a.linear_bias)

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
        hidden = hidden + self.self_attention.linear_proj(attended)
        mixed: Tensor = hidden + self.mlp(self.pre_mlp_layernorm(hidden))
        return mixed


class Network(nn.Module):
    """A whole GPT or BERT.

    Attributes:
        architecture: what it computes.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        hidden = a.hidden_size
        self.architecture = a
        self.embedding = _Embedding(a)
        self.decoder = _Decoder(a)
        self.output_layer = _OutputLayer(a)
        if a.lm_head:
            self.lm_head = _dense(hidden)
            self.lm_head["layer_norm"] = Norm(a, hidden)
        if a.pooler:
            self.pooler = _dense(hidden)
        if a.binary_head:
            self.binary_head = nn.Linear(hidden, 2)
        if a.classes is not None:
            self.classification_head = nn.Linear(hidden, a.classes)

    @property
    def layers(self) -> Sequence[TransformerLayer]:
        """The transformer layers, in order."""
        return cast("Sequence[TransformerLayer]", self.decoder.layers)

    def embed(
        self, input_ids: Tensor, positions: Tensor, tokentype_ids: Tensor | None = None
    ) -> Tensor:
        """Look tokens up.

        Args:
            input_ids: integers ``[...]``.
            positions: integers, each token's place in its row from 0; as input_ids, or
                broadcastable to it.
            tokentype_ids: as input_ids; None is type 0 throughout.

        Returns:
            ``[..., hidden]``.
        """
        tables = self.embedding
        hidden: Tensor = tables.word_embeddings(input_ids)
        if self.architecture.position_embedding == "learned":
            hidden = hidden + tables.position_embeddings(positions)
        if self.architecture.num_tokentypes:
            if tokentype_ids is None:
                tokentype_ids = torch.zeros_like(input_ids)
            hidden = hidden + tables.tokentype_embeddings(tokentype_ids)
        return hidden

    def rotation(self, positions: Tensor) -> Rotation | None:
        """Cosine and sine of every token's rotary angles.

        Args:
            positions: integers ``[...]``.

        Returns:
            Two float32 tensors ``[..., rotary_dim]``; None without rotary positions.

        Source: megatron/core/models/common/embeddings/rotary_pos_embedding.py.
        """
        a = self.architecture
        if a.position_embedding != "rope":
            return None
        even = torch.arange(0, a.rotary_dim, 2, device=positions.device)
        frequencies = 1.0 / a.rotary_base ** (even.float() / a.rotary_dim)
        angles = positions.float().unsqueeze(-1) * frequencies
        if a.rotary_interleaved:
            angles = torch.stack((angles, angles), dim=-1).flatten(-2)
        else:
            angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()

    def final_norm(self, hidden: Tensor) -> Tensor:
        """Normalise what the last layer gave, ``[..., hidden]``."""
        normed: Tensor = self.decoder.final_layernorm(hidden)
        return normed

    def language_logits(self, hidden: Tensor) -> Tensor:
        """Score the stored (padded) vocabulary.

        Args:
            hidden: ``[..., hidden]``, after ``final_norm``.

        Returns:
            ``[..., vocab]``.
        """
        a = self.architecture
        if a.kind == "bert" and not a.lm_head:
            raise ValueError("this BERT was saved without a vocabulary head")
        if a.lm_head:
            # F.gelu, whatever the MLPs use: megatron/core/models/bert/bert_lm_head.py.
            hidden = self.lm_head["layer_norm"](F.gelu(self.lm_head["dense"](hidden)))
        table: Tensor | None = self.output_layer.weight
        if table is None:
            table = self.embedding.word_embeddings.weight
        return F.linear(hidden, table, self.output_layer.bias)

    def classify(self, pooled_hidden: Tensor) -> Tensor:
        """Score the classes.

        Args:
            pooled_hidden: ``[B, hidden]``, each row's pooled token after ``final_norm``.

        Returns:
            ``[B, classes]``.
        """
        logits: Tensor = self.classification_head(self._pool(pooled_hidden))
        return logits

    def next_sentence_logits(self, pooled_hidden: Tensor) -> Tensor:
        """Score BERT's two next-sentence classes: ``[B, hidden]`` to ``[B, 2]``."""
        logits: Tensor = self.binary_head(self._pool(pooled_hidden))
        return logits

    def encode(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        tokentype_ids: Tensor | None = None,
    ) -> Tensor:
        """Run embedding, layers and final norm on padded rows.

        Args:
            input_ids: int64 ``[B, T]``.
            attention_mask: BERT only: ``[B, T]``, nonzero for tokens, zero for padding.
            tokentype_ids: BERT only: int64 ``[B, T]``.

        Returns:
            ``[B, T, hidden]``; at padding, finite and without meaning.
        """
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        if self.architecture.causal:
            if attention_mask is not None:
                raise ValueError(
                    "a GPT takes no attention_mask: rows are padded on the right, "
                    "where no token looks"
                )
            mask = causal_mask(input_ids.shape[1], device=input_ids.device)
        elif attention_mask is None:
            mask = torch.ones_like(input_ids, dtype=torch.bool)[:, None, None]
        else:
            mask = (attention_mask != 0)[:, None, None]
        hidden = self.embed(input_ids, positions, tokentype_ids)
        rotation = self.rotation(positions)
        for layer in self.layers:
            query, key, value = layer.project(hidden, rotation)
            hidden = layer.finish(hidden, attention(query, key, value, mask))
        return self.final_norm(hidden)

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        tokentype_ids: Tensor | None = None,
        *,
        row_lengths: Tensor | None = None,
    ) -> Tensor:
        """Score the classes if the model has a classification head, else the vocabulary.

        Args:
            input_ids: int64 ``[B, T]``, rows padded on the right.
            attention_mask: as ``encode``.
            tokentype_ids: as ``encode``.
            row_lengths: int64 ``[B]``, tokens of each row, at least 1; a GPT classifier
                reads the last of them.  None means all T.

        Returns:
            float32 ``[B, classes]`` or ``[B, T, vocab]``.
        """
        hidden = self.encode(input_ids, attention_mask, tokentype_ids)
        if self.architecture.classes is None:
            return self.language_logits(hidden)
        if self.architecture.pooling == "first":
            return self.classify(hidden[:, 0])
        if row_lengths is None:
            return self.classify(hidden[:, -1])
        rows = torch.arange(hidden.shape[0], device=hidden.device)
        return self.classify(hidden[rows, row_lengths - 1])

    def _pool(self, hidden: Tensor) -> Tensor:
        return self.pooler["dense"](hidden).tanh() if self.architecture.pooler else hidden


class _Embedding(nn.Module):
    """The tables that tokens are looked up in."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        width = a.hidden_size
        self.word_embeddings = nn.Embedding(a.vocab_size, width)
        if a.position_embedding == "learned":
            self.position_embeddings = nn.Embedding(a.max_position_embeddings, width)
        if a.num_tokentypes:
            self.tokentype_embeddings = nn.Embedding(a.num_tokentypes, width)


class _Decoder(nn.Module):
    """The stack of layers, called a decoder for BERT as well."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        count = range(architecture.num_layers)
        self.layers = nn.ModuleList(TransformerLayer(architecture) for _ in count)
        self.final_layernorm = Norm(architecture, architecture.hidden_size)


class _OutputLayer(nn.Module):
    """The vocabulary's own rows where they are not tied, and BERT's bias."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        untied = torch.empty(a.vocab_size, a.hidden_size)
        self.weight = None if a.tied_embeddings else nn.Parameter(untied)
        self.bias = nn.Parameter(torch.empty(a.vocab_size)) if a.lm_head else None


def _dense(hidden: int) -> nn.ModuleDict:
    return nn.ModuleDict({"dense": nn.Linear(hidden, hidden)})


def _repeated(tensor: Tensor, times: int) -> Tensor:
    """Repeat each of ``[B, T, groups, channels]``'s groups; itself for 1."""
    if times == 1:
        return tensor
    groups = tensor.unsqueeze(-2).expand(*([-1] * 3), times, -1)
    return groups.flatten(-3, -2)
