"""A Megatron checkpoint as the model that the peers run: Hugging Face's, padded.

Two architectures: Llama's (the default model's) and GPT-2's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import torch
from peers.classifier import PaddedClassifier
from torch import Tensor, nn
from transformers import GPT2Config, GPT2Model, LlamaConfig, LlamaModel, PreTrainedModel

from megatick_export.checkpoint import Architecture, Checkpoint

Weights = Mapping[str, Tensor]

# What sets each apart, by attribute of Architecture.
_LLAMA: Final[Mapping[str, object]] = {
    "kind": "gpt",
    "position_embedding": "rope",
    "rotary_percent": 1.0,
    "rotary_interleaved": False,
    "normalization": "RMSNorm",
    "activation": "silu",
    "gated": True,
    "linear_bias": False,
    "qkv_bias": False,
    "qk_norm": False,
    "zero_centered_gamma": False,
}
_GPT2: Final[Mapping[str, object]] = {
    "kind": "gpt",
    "position_embedding": "learned",
    "normalization": "LayerNorm",
    "activation": "gelu_tanh",
    "gated": False,
    "linear_bias": True,
    "qkv_bias": True,
    "qk_norm": False,
    "zero_centered_gamma": False,
}


def padded_classifier(checkpoint: Checkpoint) -> PaddedClassifier:
    """Rebuild a checkpoint's classifier in transformers, in float32.

    Raises:
        ValueError: it has no classification head, or is neither a Llama nor a GPT-2.
    """
    a = checkpoint.architecture
    if a.classes is None:
        raise ValueError(
            f"{checkpoint.path}: expected a classification head, found none; the peers "
            "serve classifiers only"
        )
    weights = {name: tensor.float() for name, tensor in checkpoint.weights.items()}
    if _is(a, _LLAMA):
        body = _llama(a, weights)
    elif _is(a, _GPT2):
        body = _gpt2(a, weights)
    else:
        raise ValueError(
            f"{checkpoint.path}: expected Llama's architecture or GPT-2's, found {a}; "
            "the peers know no other"
        )
    head = nn.Linear(a.hidden_size, a.classes)
    head.load_state_dict(_module(weights, "classification_head"))
    return PaddedClassifier(body, head).eval().requires_grad_(requires_grad=False)


def _is(architecture: Architecture, expected: Mapping[str, object]) -> bool:
    return all(getattr(architecture, name) == value for name, value in expected.items())


def _module(weights: Weights, module: str) -> dict[str, Tensor]:
    """Take one module's tensors, by their own names."""
    prefix = f"{module}."
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in weights.items()
        if name.startswith(prefix)
    }


def _llama(a: Architecture, weights: Weights) -> PreTrainedModel:
    config = LlamaConfig(
        vocab_size=a.vocab_size,
        hidden_size=a.hidden_size,
        intermediate_size=a.ffn_hidden_size,
        num_hidden_layers=a.num_layers,
        num_attention_heads=a.num_attention_heads,
        num_key_value_heads=a.num_query_groups,
        head_dim=a.kv_channels,
        max_position_embeddings=a.max_position_embeddings,
        rms_norm_eps=a.norm_epsilon,
        rope_parameters={"rope_type": "default", "rope_theta": a.rotary_base},
    )
    state = {
        "embed_tokens.weight": weights["embedding.word_embeddings.weight"],
        "norm.weight": weights["decoder.final_layernorm.weight"],
    }
    for layer in range(a.num_layers):
        ours = _module(weights, f"decoder.layers.{layer}")
        query, key, value = _split_qkv(a, ours["self_attention.linear_qkv.weight"])
        gate, up = ours["mlp.linear_fc1.weight"].chunk(2)
        theirs = {
            "input_layernorm": ours["input_layernorm.weight"],
            "self_attn.q_proj": query,
            "self_attn.k_proj": key,
            "self_attn.v_proj": value,
            "self_attn.o_proj": ours["self_attention.linear_proj.weight"],
            "post_attention_layernorm": ours["pre_mlp_layernorm.weight"],
            "mlp.gate_proj": gate,
            "mlp.up_proj": up,
            "mlp.down_proj": ours["mlp.linear_fc2.weight"],
        }
        state |= {f"layers.{layer}.{name}.weight": each for name, each in theirs.items()}
    body = LlamaModel(config)
    body.load_state_dict(state)
    return body


def _gpt2(a: Architecture, weights: Weights) -> PreTrainedModel:
    config = GPT2Config(
        vocab_size=a.vocab_size,
        n_positions=a.max_position_embeddings,
        n_embd=a.hidden_size,
        n_layer=a.num_layers,
        n_head=a.num_attention_heads,
        n_inner=a.ffn_hidden_size,
        activation_function="gelu_new",
        layer_norm_epsilon=a.norm_epsilon,
    )
    state = {
        "wte.weight": weights["embedding.word_embeddings.weight"],
        "wpe.weight": weights["embedding.position_embeddings.weight"],
        "ln_f.weight": weights["decoder.final_layernorm.weight"],
        "ln_f.bias": weights["decoder.final_layernorm.bias"],
    }
    for layer in range(a.num_layers):
        ours = _module(weights, f"decoder.layers.{layer}")
        for kind in ("weight", "bias"):
            theirs = {
                "ln_1": ours[f"input_layernorm.{kind}"],
                "attn.c_attn": torch.cat(
                    _split_qkv(a, ours[f"self_attention.linear_qkv.{kind}"])
                ),
                "attn.c_proj": ours[f"self_attention.linear_proj.{kind}"],
                "ln_2": ours[f"pre_mlp_layernorm.{kind}"],
                "mlp.c_fc": ours[f"mlp.linear_fc1.{kind}"],
                "mlp.c_proj": ours[f"mlp.linear_fc2.{kind}"],
            }
            # GPT-2's linear layers hold their weights as [inputs, outputs]; .T of a
            # vector would warn, and a norm's weight is one.
            state |= {
                f"h.{layer}.{name}.{kind}": each.t() if each.dim() == 2 else each
                for name, each in theirs.items()
            }
    body = GPT2Model(config)
    body.load_state_dict(state)
    return body


def _split_qkv(a: Architecture, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Undo Megatron's order: group by group its queries, its key, its value.

    Args:
        a: the model's.
        rows: ``[qkv_rows, hidden]``, or their biases ``[qkv_rows]``.

    Returns:
        Queries ``[heads * channels, ...]``, keys and values ``[groups * channels, ...]``.
    """
    served = a.num_attention_heads // a.num_query_groups
    grouped = rows.reshape(a.num_query_groups, served + 2, a.kv_channels, *rows.shape[1:])
    query, key, value = grouped[:, :served], grouped[:, served], grouped[:, served + 1]
    return query.flatten(0, 2), key.flatten(0, 1), value.flatten(0, 1)
