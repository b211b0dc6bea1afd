"""A checkpoint small enough for every test: random weights, a real layout, a tokenizer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from megatick_export import Architecture, write_checkpoint

WINDOW = 96

LLAMA = Architecture(
    kind="gpt",
    num_layers=2,
    hidden_size=64,
    num_attention_heads=4,
    num_query_groups=2,
    kv_channels=16,
    ffn_hidden_size=96,
    vocab_size=256,
    max_position_embeddings=WINDOW,
    position_embedding="rope",
    normalization="RMSNorm",
    norm_epsilon=1e-5,
    activation="silu",
    gated=True,
    linear_bias=False,
    qkv_bias=False,
    tied_embeddings=True,
    classes=3,
)
GPT2 = replace(
    LLAMA,
    num_query_groups=4,
    position_embedding="learned",
    normalization="LayerNorm",
    activation="gelu_tanh",
    gated=False,
    linear_bias=True,
    qkv_bias=True,
)
BERT = replace(GPT2, kind="bert", activation="gelu", num_tokentypes=2, pooler=True)


def random_weights(architecture: Architecture) -> dict[str, torch.Tensor]:
    """Weights of a size at which every layer matters, norms around one."""
    generator = torch.Generator().manual_seed(7)
    weights = {}
    for name, shape in architecture.shapes().items():
        noise = torch.randn(shape, generator=generator)
        is_norm = "norm" in name and name.endswith("weight")
        weights[name] = 1 + 0.2 * noise if is_norm else noise / shape[-1] ** 0.5
    weights["classification_head.weight"] *= 3  # probabilities that differ
    return weights


def byte_tokenizer() -> Tokenizer:
    """One token a byte."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def write_tiny(folder: Path, architecture: Architecture = LLAMA) -> Path:
    """Write the checkpoint and its tokenizer; returns the folder."""
    write_checkpoint(folder, architecture, random_weights(architecture))
    byte_tokenizer().save(str(folder / "tokenizer.json"))
    return folder
