"""Megatron's args, read as an architecture and written back.

A checkpoint carries the argparse namespace of the run that saved it, up to 800 fields
whose names and defaults have moved over the years.  Sources: Megatron-LM's
``megatron/training/arguments.py`` (``core_transformer_config_from_args``) and
``megatron/legacy/model/transformer.py``, and args in files of v1.0 to core 0.19.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final, get_args

import torch

from megatick_export.checkpoint.architecture import (
    Activation,
    Architecture,
    Kind,
    Normalization,
    PositionEmbedding,
    Shape,
)
from megatick_export.checkpoint.fields import Fields, Simple, plain
from megatick_export.errors import CheckpointError, UnsupportedArchitecture

# arg -> (values that leave the mathematics alone, what another value asks for)
_REFUSED: Final[dict[str, tuple[tuple[object, ...], str]]] = {
    "num_experts": ((None, 0), "a mixture of experts"),
    "num_moe_experts": ((None, 0), "a mixture of experts"),
    "multi_latent_attention": ((None, False), "multi-latent attention"),
    "experimental_attention_variant": ((None,), "another kind of attention"),
    "attention_output_gate": ((None, False), "gated attention"),
    "window_size": ((None,), "sliding-window attention"),
    "softmax_type": ((None, "vanilla"), "a softmax with a sink"),
    "softmax_scale": ((None,), "another scale of the attention scores"),
    "linear_attention_type": ((None,), "linear attention"),
    "linear_attention_freq": ((None,), "linear attention"),
    "qk_l2_norm": ((None, False), "L2-normalised queries and keys"),
    "is_hybrid_model": ((None, False), "Mamba layers"),
    "hybrid_override_pattern": ((None,), "Mamba layers"),
    "hybrid_layer_pattern": ((None,), "Mamba layers"),
    "hybrid_attention_ratio": ((None, 0.0), "Mamba layers"),
    "hybrid_mlp_ratio": ((None, 0.0), "Mamba layers"),
    "heterogeneous_layers_config_path": ((None,), "layers that differ"),
    "heterogeneous_layers_config_encoded_json": ((None,), "layers that differ"),
    "num_unique_layers": ((None,), "layers that share their weights"),
    "spec": ((None,), "a custom layer specification"),
    "retro_add_retriever": ((None, False), "a retrieval encoder"),
    "mtp_num_layers": ((None, 0), "multi-token prediction"),
    "use_mup": ((None, False), "maximal-update multipliers"),
    "apply_residual_connection_post_layernorm": ((None, False), "a post-LN residual"),
    "quick_geglu": ((None, False), "a sigmoid-approximated GeGLU"),
    "use_te_activation_func": ((None, False), "Transformer Engine's activations"),
    "activation_func_clamp_value": ((None,), "a clamped activation"),
    "glu_linear_offset": ((None, 0.0), "an offset in the gated MLP"),
    "use_rope_scaling": ((None, False), "scaled rotary positions"),
    "rotary_seq_len_interpolation_factor": ((None, 1), "interpolated positions"),
    "rope_type": ((None, "rope"), "another rotary embedding"),
    "mrope_section": ((None,), "multimodal rotary positions"),
    "no_rope_freq": ((None,), "layers without rotary positions"),
}
# The args read below: what an architecture file may say.
KNOWN_ARGS: Final = frozenset(_REFUSED) | {
    "num_layers",
    "hidden_size",
    "ffn_hidden_size",
    "num_attention_heads",
    "kv_channels",
    "group_query_attention",
    "num_query_groups",
    "max_position_embeddings",
    "padded_vocab_size",
    "position_embedding_type",
    "add_position_embedding",
    "use_rotary_position_embeddings",
    "rotary_percent",
    "rotary_base",
    "rotary_interleaved",
    "normalization",
    "norm_epsilon",
    "layernorm_epsilon",
    "apply_layernorm_1p",
    "layernorm_zero_centered_gamma",
    "swiglu",
    "gated_linear_unit",
    "activation_func",
    "squared_relu",
    "openai_gelu",
    "bias_gelu_fusion",
    "add_bias_linear",
    "add_qkv_bias",
    "qk_layernorm",
    "untie_embeddings_and_output_weights",
    "checkpoint_version",
    "tensor_model_parallel_size",
    "pipeline_model_parallel_size",
    "tokenizer_type",
}
_POSITIONS: Final[dict[str, PositionEmbedding]] = {
    "learned_absolute": "learned",
    "rope": "rope",
    "none": "none",
}


def architecture_of(
    args: Mapping[str, Any],
    stored: Mapping[str, Shape],
    *,
    path: Path,
    legacy_models: bool,
) -> Architecture:
    """Read the architecture from a checkpoint's args.

    Args:
        args: the saved namespace as a mapping.
        stored: shapes of the stored tensors by canonical name.  Args do not reliably
            tell which heads a file holds, nor BERT from GPT; the tensors do.
        path: for messages.
        legacy_models: the tensors have the names of Megatron before its core, whose
            activations follow ``openai_gelu`` too.

    Raises:
        UnsupportedArchitecture: an arg changes the mathematics in a way not built here.
        CheckpointError: an arg without which the model is unknown is missing, or the
            word embedding is, or an arg is not of its type.
    """
    _refuse_unsupported(args, path)
    fields = Fields(args, path)
    layers = fields.count(fields.either("num_layers", "encoder_num_layers"))
    if layers > len(stored):
        raise CheckpointError(
            path,
            expected=f"tensors of num_layers={layers} layers",
            found=f"{len(stored)} tensors in all",
            hint="Is a pipeline stage missing, or are the args of another model?",
        )
    hidden = fields.count("hidden_size")
    heads = fields.count("num_attention_heads")
    # Without group_query_attention the field is 1 and means nothing.
    grouped = fields.flag("group_query_attention")
    groups = fields.count("num_query_groups") if grouped else heads
    if heads % groups:
        raise CheckpointError(
            path,
            expected="num_attention_heads to be a multiple of num_query_groups",
            found=f"{heads} and {groups}",
            hint="The args are not those of this model.",
        )
    linear_bias = fields.flag("add_bias_linear", default=True)
    gated = _is_gated(fields, stored)
    kind: Kind = "bert" if _is_bert(stored) else "gpt"
    if kind == "bert" and legacy_models and fields.flag("openai_gelu"):
        reason = "the tanh GELU in a legacy BERT's vocabulary head"
        raise UnsupportedArchitecture(path, arg="openai_gelu", value=True, reason=reason)
    return Architecture(
        kind=kind,
        num_layers=layers,
        hidden_size=hidden,
        num_attention_heads=heads,
        num_query_groups=groups,
        kv_channels=fields.count("kv_channels", hidden // heads),
        ffn_hidden_size=fields.count("ffn_hidden_size", 4 * hidden),
        vocab_size=_vocab_size(fields, stored),
        max_position_embeddings=fields.count("max_position_embeddings"),
        position_embedding=_position_embedding(fields),
        rotary_percent=fields.positive("rotary_percent", 1.0, most=1.0),
        rotary_base=fields.positive("rotary_base", 10000.0),
        rotary_interleaved=fields.flag("rotary_interleaved"),
        normalization=_normalization(fields),
        norm_epsilon=fields.number(
            fields.either("norm_epsilon", "layernorm_epsilon"), 1e-5
        ),
        zero_centered_gamma=fields.flag(
            fields.either("apply_layernorm_1p", "layernorm_zero_centered_gamma")
        ),
        activation=_activation(
            fields, gated=gated, linear_bias=linear_bias, legacy_models=legacy_models
        ),
        gated=gated,
        linear_bias=linear_bias,
        qkv_bias=linear_bias or fields.flag("add_qkv_bias"),
        qk_norm=fields.flag("qk_layernorm"),
        tied_embeddings=not fields.flag("untie_embeddings_and_output_weights"),
        num_tokentypes=_rows(stored, "embedding.tokentype_embeddings.weight") or 0,
        lm_head="lm_head.dense.weight" in stored,
        pooler="pooler.dense.weight" in stored,
        binary_head="binary_head.weight" in stored,
        classes=_rows(stored, "classification_head.weight"),
    )


def arguments_of(
    architecture: Architecture, dtype: torch.dtype, *, path: Path
) -> dict[str, Any]:
    """Write an architecture as Megatron's args, in the spelling of core 0.14 and 0.19.

    ``architecture_of`` reads them back to the same architecture.

    Raises:
        UnsupportedArchitecture: an activation that no arg of Megatron-core can say.
    """
    a = architecture
    gelu = a.activation in ("gelu", "gelu_tanh")
    said = gelu or a.gated == (a.activation == "silu")
    fused = a.linear_bias or a.gated  # the tanh GELU is a fused kernel, which needs one
    if not said or (a.activation == "gelu_tanh" and not fused):
        reason = f"Megatron-core has none with gated={a.gated}, bias={a.linear_bias}"
        raise UnsupportedArchitecture(
            path, arg="activation", value=a.activation, reason=reason
        )
    grouped = a.num_query_groups != a.num_attention_heads
    positions = {ours: theirs for theirs, ours in _POSITIONS.items()}
    return {
        "num_layers": a.num_layers,
        "encoder_num_layers": a.num_layers,
        "hidden_size": a.hidden_size,
        "ffn_hidden_size": a.ffn_hidden_size,
        "num_attention_heads": a.num_attention_heads,
        "kv_channels": a.kv_channels,
        "group_query_attention": grouped,
        "num_query_groups": a.num_query_groups if grouped else 1,
        "max_position_embeddings": a.max_position_embeddings,
        "seq_length": a.max_position_embeddings,
        "position_embedding_type": positions[a.position_embedding],
        "add_position_embedding": a.position_embedding == "learned",
        "use_rotary_position_embeddings": False,
        "rotary_percent": a.rotary_percent,
        "rotary_base": a.rotary_base,
        "rotary_interleaved": a.rotary_interleaved,
        "normalization": a.normalization,
        "norm_epsilon": a.norm_epsilon,
        "layernorm_epsilon": a.norm_epsilon,
        "apply_layernorm_1p": a.zero_centered_gamma,
        "layernorm_zero_centered_gamma": a.zero_centered_gamma,
        "swiglu": a.activation == "silu",
        "gated_linear_unit": a.gated,
        "squared_relu": a.activation == "squared_relu",
        "openai_gelu": False,
        "bias_gelu_fusion": a.activation == "gelu_tanh",
        "bias_swiglu_fusion": a.activation == "silu",
        "add_bias_linear": a.linear_bias,
        "add_qkv_bias": a.qkv_bias,
        "qk_layernorm": a.qk_norm,
        "untie_embeddings_and_output_weights": not a.tied_embeddings,
        "padded_vocab_size": a.vocab_size,
        "num_tokentypes": a.num_tokentypes,
        "bert_binary_head": a.binary_head,
        "apply_residual_connection_post_layernorm": False,
        "multi_latent_attention": False,
        "num_experts": None,
        "tensor_model_parallel_size": 1,
        "pipeline_model_parallel_size": 1,
        "virtual_pipeline_model_parallel_size": None,
        "params_dtype": dtype,
        "fp16": dtype == torch.float16,
        "bf16": dtype == torch.bfloat16,
        "ckpt_format": "torch_dist",
        "use_dist_ckpt": True,
    }


def _refuse_unsupported(args: Mapping[str, Any], path: Path) -> None:
    for arg, (harmless, reason) in _REFUSED.items():
        value = args.get(arg)
        # A tensor, say, does not let itself be compared.
        if not isinstance(value, get_args(Simple)) or value not in harmless:
            raise UnsupportedArchitecture(path, arg=arg, value=plain(value), reason=reason)


def _is_bert(stored: Collection[str]) -> bool:
    marks = (
        "lm_head.dense.weight",
        "pooler.dense.weight",
        "embedding.tokentype_embeddings.weight",
    )
    return any(mark in stored for mark in marks)


def _rows(stored: Mapping[str, Shape], name: str) -> int | None:
    """Count a tensor's rows; one of no dimensions is refused with all other shapes."""
    return (*stored[name], 0)[0] if name in stored else None


def _vocab_size(fields: Fields, stored: Mapping[str, Shape]) -> int:
    """Take the padded size the run wrote down; older runs left only the table."""
    name = "embedding.word_embeddings.weight"
    rows = _rows(stored, name)
    if rows is None:
        raise CheckpointError(
            fields.path,
            tensor=name,
            expected="the word embedding of the first pipeline stage",
            found="none",
            hint="Is the first stage's file missing, or is this another kind of model?",
        )
    return fields.count("padded_vocab_size", rows)


def _position_embedding(fields: Fields) -> PositionEmbedding:
    arg = "position_embedding_type"
    # Before it was an arg of its own, one flag switched to rotary positions.
    if fields.flag("use_rotary_position_embeddings"):
        return "rope"
    absent = fields.values.get(arg) is None
    if absent and not fields.flag("add_position_embedding", default=True):
        return "none"
    value = fields.word(arg, "learned_absolute")
    if value not in _POSITIONS:
        reason = f"only {', '.join(_POSITIONS)} are built here"
        raise UnsupportedArchitecture(
            fields.path, arg=arg, value=plain(value), reason=reason
        )
    return _POSITIONS[value]


def _normalization(fields: Fields) -> Normalization:
    value = fields.word("normalization", "LayerNorm")
    if value == "LayerNorm":
        return "LayerNorm"
    if value == "RMSNorm":
        return "RMSNorm"
    reason = "only LayerNorm and RMSNorm are built here"
    raise UnsupportedArchitecture(
        fields.path, arg="normalization", value=plain(value), reason=reason
    )


def _is_gated(fields: Fields, stored: Mapping[str, Shape]) -> bool:
    """Tell whether fc1 holds a gate and an up.

    ``swiglu`` is the one gated MLP that the training script has an arg for.  A model that
    was built on Megatron-core's config may have ``gated_linear_unit`` with another
    activation; where the args do not keep that field, twice the rows show it.
    """
    if fields.flag("swiglu") or fields.flag("gated_linear_unit"):
        return True
    fc1 = stored.get("decoder.layers.0.mlp.linear_fc1.weight", ())
    fc2 = stored.get("decoder.layers.0.mlp.linear_fc2.weight", ())
    ffn = fields.values.get("ffn_hidden_size")
    return len(fc1) == len(fc2) == 2 and ffn == fc2[1] and fc1[0] == 2 * fc2[1]


def _activation(
    fields: Fields, *, gated: bool, linear_bias: bool, legacy_models: bool
) -> Activation:
    """Tell which GELU, above all: the fused kernel is the tanh approximation.

    ``bias_gelu_fusion`` reads like a speed switch and is on by default, yet its kernels
    (megatron/core/fusions/fused_bias_gelu.py and fused_bias_geglu.py) compute another
    function than F.gelu: 3e-3 apart in the logits.  Without a gate the kernel needs a
    bias; where there is none, F.gelu runs.
    """
    if fields.flag("swiglu"):
        return "silu"
    if fields.flag("squared_relu"):
        return "squared_relu"
    named = _function_name(fields.values.get("activation_func"))
    if named in ("silu", "swish"):
        return "silu"
    if named == "squared_relu":
        return "squared_relu"
    if named not in ("gelu", None):
        reason = "only gelu, silu and squared_relu are built here"
        raise UnsupportedArchitecture(
            fields.path, arg="activation_func", value=named, reason=reason
        )
    if fields.flag("bias_gelu_fusion") and (linear_bias or gated):
        return "gelu_tanh"
    if legacy_models and fields.flag("openai_gelu"):
        return "gelu_tanh"
    # A legacy model's layer was then Transformer Engine's own, whose GELU is by tanh.
    if legacy_models and fields.word("transformer_impl", "local") == "transformer_engine":
        return "gelu_tanh"
    return "gelu"


def _function_name(value: object) -> str | None:
    """Name a function of the config; from a pickle it comes as an inert class."""
    if value is None or isinstance(value, str):
        return value
    return value.__name__ if isinstance(value, type) else str(plain(value))
