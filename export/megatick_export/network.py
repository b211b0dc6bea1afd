"""The reference network: a Megatron model in plain PyTorch, float32, for inference.

The module tree carries Megatron's canonical names, so ``load_state_dict`` takes a
checkpoint's weights and ``state_dict`` gives them back.  ``Network.forward`` runs padded
rows; its parts serve packed tokens as well.

Sources: megatron/core/models/gpt and models/bert; held to the logits that Megatron itself
computed to 5e-5.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from torch import Tensor, nn

from megatick_export.checkpoint import Architecture, Checkpoint
from megatick_export.transformer import (
    Linear,
    Norm,
    Rotation,
    TransformerLayer,
    attention,
    causal_mask,
)

__all__ = ["Network", "TransformerLayer", "attention", "reference_network"]


def reference_network(checkpoint: Checkpoint) -> Network:
    """Build the network of a checkpoint, in float32 and evaluation mode.

    Float32 weights are shared with the checkpoint, not copied.
    """
    with torch.device("meta"):
        network = Network(checkpoint.architecture)
    weights = {name: tensor.float() for name, tensor in checkpoint.weights.items()}
    network.load_state_dict(weights, assign=True)
    return network.eval().requires_grad_(requires_grad=False)


class Network(nn.Module):
    """A whole GPT or BERT.

    Attributes:
        architecture: what it computes.
        stream_dtype: of the residual stream.
    """

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        a = architecture
        hidden = a.hidden_size
        self.architecture = a
        self.stream_dtype = torch.float32
        self.embedding = _Embedding(a)
        self.decoder = _Decoder(a)
        self.output_layer = _OutputLayer(a)
        if a.lm_head:
            self.lm_head = _dense(hidden)
            self.lm_head["layer_norm"] = Norm(a, hidden)
        if a.pooler:
            self.pooler = _dense(hidden)
        if a.binary_head:
            self.binary_head = Linear(hidden, 2)
        if a.classes is not None:
            self.classification_head = Linear(hidden, a.classes)

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
        hidden: Tensor = tables.word_embeddings(input_ids).to(self.stream_dtype)
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
        *_, last = self.hidden_states(input_ids, attention_mask, tokentype_ids)
        return self.final_norm(last)

    def hidden_states(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        tokentype_ids: Tensor | None = None,
    ) -> Iterator[Tensor]:
        """Give the residual stream after each layer in turn; arguments are ``encode``'s.

        Yields:
            ``[B, T, hidden]``.
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
            hidden = layer.finish(hidden, layer.attend(query, key, value, mask))
            yield hidden

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
    return nn.ModuleDict({"dense": Linear(hidden, hidden)})
