"""SmolLM2-135M-Instruct from its GGUF file: Megatron-core's weights, and a tokenizer.

The architecture is Llama's, and every part of it is an option of Megatron-core: RMSNorm,
SwiGLU, grouped-query attention, rotary positions, tied embeddings.  Two things differ in
the file.  Its query and key rows stand in the order of interleaved rotation, where
Megatron-core (like transformers) rotates halves; and query, key and value are apart, where
Megatron-core stores, group by group, the group's queries, its key and its value.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import gguf
import numpy as np
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

from megatick_export.checkpoint import Architecture
from megatick_training.errors import DataError

_CONTROL_TOKEN: Final = int(gguf.TokenType.CONTROL)

# Tensors outside the layers, then those of one layer that are only renamed.
_OUTSIDE: Final = {
    "token_embd.weight": "embedding.word_embeddings.weight",
    "output_norm.weight": "decoder.final_layernorm.weight",
}
_INSIDE: Final = {
    "attn_norm.weight": "input_layernorm.weight",
    "attn_output.weight": "self_attention.linear_proj.weight",
    "ffn_norm.weight": "pre_mlp_layernorm.weight",
    "ffn_down.weight": "mlp.linear_fc2.weight",
}


@dataclass(frozen=True)
class SmolLM2:
    """The model as Megatron-core would hold it.

    Attributes:
        architecture: without a head.
        weights: float32, by canonical name.
        tokenizer: byte-level BPE of 49,152 tokens; adds no token of its own.
    """

    architecture: Architecture
    weights: Mapping[str, torch.Tensor]
    tokenizer: Tokenizer


def read_smollm2(path: Path) -> SmolLM2:
    """Dequantise the GGUF file and put its tensors into Megatron-core's order.

    Raises:
        DataError: not a GGUF file of a tied Llama with SmolLM2's tokenizer.
    """
    try:
        reader = gguf.GGUFReader(path)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise DataError(path, f"is not a GGUF file: {error}") from error
    fields = {name: field.contents for name, field in reader.fields.items()}
    kind = fields["general.architecture"](), fields["tokenizer.ggml.pre"]()
    if kind != ("llama", "smollm"):
        raise DataError(path, f"expected a llama with smollm's tokenizer, found {kind}")
    architecture = _architecture(fields)
    stored = {
        tensor.name: torch.from_numpy(
            np.array(gguf.dequantize(tensor.data, tensor.tensor_type), np.float32)
        )
        for tensor in reader.tensors
    }
    return SmolLM2(architecture, _weights(stored, architecture), _tokenizer(fields))


def _architecture(fields: Mapping[str, Any]) -> Architecture:
    heads = fields["llama.attention.head_count"]()
    hidden = fields["llama.embedding_length"]()
    return Architecture(
        kind="gpt",
        num_layers=fields["llama.block_count"](),
        hidden_size=hidden,
        num_attention_heads=heads,
        num_query_groups=fields["llama.attention.head_count_kv"](),
        kv_channels=hidden // heads,
        ffn_hidden_size=fields["llama.feed_forward_length"](),
        vocab_size=fields["llama.vocab_size"](),
        max_position_embeddings=fields["llama.context_length"](),
        position_embedding="rope",
        rotary_base=fields["llama.rope.freq_base"](),
        normalization="RMSNorm",
        norm_epsilon=1e-5,  # the file holds its float32 rounding, 9.999999747e-06
        activation="silu",
        gated=True,
        linear_bias=False,
        qkv_bias=False,
        tied_embeddings=True,
    )


def _weights(
    stored: Mapping[str, torch.Tensor], architecture: Architecture
) -> dict[str, torch.Tensor]:
    weights = {ours: stored[theirs] for theirs, ours in _OUTSIDE.items()}
    heads, groups = architecture.num_attention_heads, architecture.num_query_groups
    for layer in range(architecture.num_layers):
        theirs, ours = f"blk.{layer}.", f"decoder.layers.{layer}."
        for name, renamed in _INSIDE.items():
            weights[ours + renamed] = stored[theirs + name]
        weights[ours + "self_attention.linear_qkv.weight"] = _join_qkv(
            _rotate_by_halves(stored[theirs + "attn_q.weight"], heads=heads),
            _rotate_by_halves(stored[theirs + "attn_k.weight"], heads=groups),
            stored[theirs + "attn_v.weight"],
            groups=groups,
        )
        weights[ours + "mlp.linear_fc1.weight"] = torch.cat(
            (stored[theirs + "ffn_gate.weight"], stored[theirs + "ffn_up.weight"])
        )
    return weights


def _rotate_by_halves(weight: torch.Tensor, *, heads: int) -> torch.Tensor:
    """Reorder each head's rows from rotated pairs (2i, 2i+1) to halves (i, i + hn/2).

    Args:
        weight: shape (heads · hn, hidden).
        heads: heads the rows make up.

    >>> _rotate_by_halves(torch.arange(4.0)[:, None], heads=1).flatten().tolist()
    [0.0, 2.0, 1.0, 3.0]
    """
    rows, hidden = weight.shape
    pairs = weight.view(heads, rows // heads // 2, 2, hidden)
    return pairs.transpose(1, 2).reshape(rows, hidden)


def _join_qkv(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, *, groups: int
) -> torch.Tensor:
    """Stack the rows group by group: the group's queries, its key, its value."""
    hidden = query.shape[-1]
    parts = [rows.view(groups, -1, hidden) for rows in (query, key, value)]
    return torch.cat(parts, dim=1).reshape(-1, hidden)


def _tokenizer(fields: Mapping[str, Any]) -> Tokenizer:
    """Build the tokenizer: digits apart, then GPT-2's byte-level split, then BPE."""
    tokens = fields["tokenizer.ggml.tokens"]()
    kinds = fields["tokenizer.ggml.token_type"]()
    merges = [tuple(pair.split(" ")) for pair in fields["tokenizer.ggml.merges"]()]
    vocabulary = {token: index for index, token in enumerate(tokens)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    control = [
        AddedToken(token, special=True, normalized=False)
        for token, kind in zip(tokens, kinds, strict=True)
        if kind == _CONTROL_TOKEN
    ]
    tokenizer.add_special_tokens(control)
    return tokenizer
