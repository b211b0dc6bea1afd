"""What a Megatron model computes, and the tensors it therefore must have."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Shape = tuple[int, ...]

Kind = Literal["gpt", "bert"]
PositionEmbedding = Literal["learned", "rope", "none"]
Normalization = Literal["LayerNorm", "RMSNorm"]
Activation = Literal["gelu_tanh", "gelu", "squared_relu", "silu"]


@dataclass(frozen=True)
class Architecture:
    """A dense GPT (causal) or BERT (bidirectional, pre-LN) of Megatron.

    Attributes:
        kind: ``gpt`` attends to the left only, ``bert`` to both sides.
        num_layers: transformer layers.
        hidden_size: width of the residual stream.
        num_attention_heads: query heads.
        num_query_groups: key/value heads; equal to the query heads without
            grouped-query attention.
        kv_channels: width of one head; may differ from hidden_size / heads.
        ffn_hidden_size: width inside the MLP, of one half if it is gated.
        vocab_size: rows of the stored word embedding, Megatron's padding included.
        max_position_embeddings: tokens the model was made for.
        position_embedding: learned table, rotary, or none.
        rotary_percent: share of each head that is rotated, in (0, 1].
        rotary_base: base of the rotary wavelengths.
        rotary_interleaved: rotate (even, odd) pairs rather than (first, second) halves.
        normalization: LayerNorm has a bias, RMSNorm has none.
        norm_epsilon: added to the variance.
        zero_centered_gamma: norm weights are stored minus one.
        activation: ``gelu_tanh`` is the tanh approximation, ``gelu`` the exact one.
        gated: fc1 holds ``[gate; up]`` and the MLP computes act(gate) * up.
        linear_bias: every linear layer has a bias.
        qkv_bias: the QKV projection has a bias.
        qk_norm: queries and keys are normalised per head.
        tied_embeddings: logits use the word embedding; otherwise ``output_layer``.
        num_tokentypes: rows of the token-type embedding; 0 without one.
        lm_head: BERT's transform before the vocabulary.
        pooler: BERT's tanh layer on token 0.
        binary_head: BERT's next-sentence rows on the pooled token.
        classes: rows of ``classification_head``; None without one.
    """

    kind: Kind
    num_layers: int
    hidden_size: int
    num_attention_heads: int
    num_query_groups: int
    kv_channels: int
    ffn_hidden_size: int
    vocab_size: int
    max_position_embeddings: int
    position_embedding: PositionEmbedding
    normalization: Normalization
    norm_epsilon: float
    activation: Activation
    gated: bool
    linear_bias: bool
    qkv_bias: bool
    tied_embeddings: bool
    rotary_percent: float = 1.0
    rotary_base: float = 10000.0
    rotary_interleaved: bool = False
    zero_centered_gamma: bool = False
    qk_norm: bool = False
    num_tokentypes: int = 0
    lm_head: bool = False
    pooler: bool = False
    binary_head: bool = False
    classes: int | None = None

    @property
    def causal(self) -> bool:
        """Whether a token sees only what stands left of it."""
        return self.kind == "gpt"

    @property
    def pooling(self) -> Literal["last", "first"]:
        """The token of each row whose hidden state a head reads.

        A causal model has read the whole row only at its last token.  Megatron defines
        no classification head for GPT; this is our own rule for ours.
        """
        return "last" if self.causal else "first"

    @property
    def rotary_dim(self) -> int:
        """Leading channels of each head that are rotated."""
        return int(self.kv_channels * self.rotary_percent)

    @property
    def qkv_rows(self) -> int:
        """Rows of the QKV projection: per group its queries, then one key, one value."""
        heads = self.num_attention_heads + 2 * self.num_query_groups
        return heads * self.kv_channels

    def shapes(self) -> dict[str, Shape]:
        """List every tensor of the model by its canonical name, with its shape.

        Canonical names are Megatron-core's of the ``torch`` format, layers numbered over
        the whole model, ``decoder`` for BERT as well.
        """
        hidden, vocab = self.hidden_size, self.vocab_size
        shapes: dict[str, Shape] = {"embedding.word_embeddings.weight": (vocab, hidden)}
        if self.position_embedding == "learned":
            table = (self.max_position_embeddings, hidden)
            shapes["embedding.position_embeddings.weight"] = table
        if self.num_tokentypes:
            table = (self.num_tokentypes, hidden)
            shapes["embedding.tokentype_embeddings.weight"] = table
        for layer in range(self.num_layers):
            shapes |= self._layer_shapes(f"decoder.layers.{layer}.")
        shapes |= self._norm_shapes("decoder.final_layernorm", hidden)
        if not self.tied_embeddings:
            shapes["output_layer.weight"] = (vocab, hidden)
        if self.lm_head:
            shapes |= _linear_shapes("lm_head.dense", (hidden, hidden), bias=True)
            shapes |= self._norm_shapes("lm_head.layer_norm", hidden)
            shapes["output_layer.bias"] = (vocab,)
        if self.pooler:
            shapes |= _linear_shapes("pooler.dense", (hidden, hidden), bias=True)
        if self.binary_head:
            shapes |= _linear_shapes("binary_head", (2, hidden), bias=True)
        if self.classes is not None:
            head = (self.classes, hidden)
            shapes |= _linear_shapes("classification_head", head, bias=True)
        return shapes

    def _layer_shapes(self, prefix: str) -> dict[str, Shape]:
        hidden, ffn = self.hidden_size, self.ffn_hidden_size
        attention, mlp = prefix + "self_attention.", prefix + "mlp."
        bias = self.linear_bias
        qkv = (self.qkv_rows, hidden)
        projection = (hidden, self.num_attention_heads * self.kv_channels)
        fc1 = (2 * ffn if self.gated else ffn, hidden)
        shapes = self._norm_shapes(prefix + "input_layernorm", hidden)
        shapes |= _linear_shapes(attention + "linear_qkv", qkv, bias=self.qkv_bias)
        if self.qk_norm:
            for which in ("q_layernorm", "k_layernorm"):
                shapes |= self._norm_shapes(attention + which, self.kv_channels)
        shapes |= _linear_shapes(attention + "linear_proj", projection, bias=bias)
        shapes |= self._norm_shapes(prefix + "pre_mlp_layernorm", hidden)
        shapes |= _linear_shapes(mlp + "linear_fc1", fc1, bias=bias)
        shapes |= _linear_shapes(mlp + "linear_fc2", (hidden, ffn), bias=bias)
        return shapes

    def _norm_shapes(self, name: str, width: int) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {f"{name}.weight": (width,)}
        if self.normalization == "LayerNorm":
            shapes[f"{name}.bias"] = (width,)
        return shapes


def _linear_shapes(name: str, shape: Shape, *, bias: bool) -> dict[str, Shape]:
    shapes: dict[str, Shape] = {f"{name}.weight": shape}
    if bias:
        shapes[f"{name}.bias"] = shape[:1]
    return shapes
