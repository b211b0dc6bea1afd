"""The args of a checkpoint that carries none, such as NVIDIA's public releases.

Most of an architecture can be read off the tensors' shapes.  What no shape tells is said
by hand, in Megatron's own names; nothing is guessed from a model's size.
"""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from megatick_export.checkpoint.architecture import Shape
from megatick_export.checkpoint.arguments import KNOWN_ARGS
from megatick_export.checkpoint.fields import Fields, listed, shown
from megatick_export.errors import CheckpointError

_ACTIVATION: Final = (
    "swiglu",
    "squared_relu",
    "bias_gelu_fusion",
    "openai_gelu",
    "gated_linear_unit",
    "activation_func",
)
_WHICH_GELU: Final = "bias_gelu_fusion (true is the tanh GELU, false the exact one)"


def read_architecture_file(path: Path | str) -> dict[str, Any]:
    """Read args written by hand: a JSON object, or TOML if the name ends in ``.toml``.

    Returns:
        Values by Megatron's arg names, for ``read_checkpoint``'s ``absent_args``.

    Raises:
        CheckpointError: the file cannot be read or parsed, or a name in it is no arg that
            describes an architecture.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
        said = tomllib.loads(text) if path.suffix == ".toml" else json.loads(text)
        if not isinstance(said, dict):
            raise ValueError(f"a {type(said).__name__}")
    except OSError as error:
        raise CheckpointError(
            path,
            expected="an architecture file that can be read",
            found=error.strerror or str(error),
            hint="Check the path and its permissions.",
        ) from error
    except (ValueError, RecursionError) as error:
        raise CheckpointError(
            path,
            expected="a TOML table" if path.suffix == ".toml" else "a JSON object",
            found=shown(str(error)),
            hint='Write Megatron\'s args by name, such as {"num_attention_heads": 16}.',
        ) from error
    for name in said:
        if name not in KNOWN_ARGS:
            near = difflib.get_close_matches(name, KNOWN_ARGS)
            raise CheckpointError(
                path,
                expected="names of Megatron's args that describe an architecture",
                found=shown(name),
                hint=f"Did you mean {' or '.join(near)}?"
                if near
                else "docs/checkpoints.md lists them.",
            )
    return said


def completed_args(
    given: Mapping[str, Any] | None,
    stored: Mapping[str, Shape],
    *,
    path: Path,
    one_stage: bool,
) -> dict[str, Any]:
    """Add what the shapes tell to the args given by hand.

    Args:
        given: by Megatron's names; None counts as none.
        stored: shapes of the stored tensors by canonical name.
        path: for messages.
        one_stage: no pipeline parallelism; with it, ``output_layer`` may be the last
            stage's copy of a tied embedding, and shapes cannot tell.

    Raises:
        CheckpointError: what no shape tells was not given, or what was contradicts the
            shapes.
    """
    given = {name: value for name, value in (given or {}).items() if value is not None}
    seen = _seen(stored, one_stage=one_stage)
    seen |= _seen_attention(given | seen, stored, path)
    for name in sorted(seen.keys() & given.keys()):
        if given[name] != seen[name]:
            raise CheckpointError(
                path,
                expected=f"{name}={shown(seen[name])}, as the tensors' shapes say",
                found=f"{shown(given[name])} in the architecture given",
                hint="Correct it there or leave it out.",
            )
    args = {**given, **seen}
    missing = _missing(args, gated=_gated(stored))
    if missing:
        raise CheckpointError(
            path,
            expected=f"{', '.join(missing)}, which no shape tells",
            found=f"no args in the file, and {listed(sorted(given)) or 'none'} given",
            hint="Write them into a JSON or TOML file and pass it as --architecture "
            "(absent_args in Python).",
        )
    if _gated(stored):
        args.setdefault("gated_linear_unit", True)
    return args


def _seen(stored: Mapping[str, Shape], *, one_stage: bool) -> dict[str, Any]:
    """Read the args that shapes alone tell."""
    seen: dict[str, Any] = {}
    table = stored.get("embedding.word_embeddings.weight", ())
    if len(table) == 2:
        seen |= {"padded_vocab_size": table[0], "hidden_size": table[1]}
    positions = stored.get("embedding.position_embeddings.weight", ())
    if positions:
        seen["max_position_embeddings"] = positions[0]
        seen["position_embedding_type"] = "learned_absolute"
    numbers = [
        int(match[1])
        for match in (re.match(r"decoder\.layers\.(\d+)\.", name) for name in stored)
        if match
    ]
    seen["num_layers"] = 1 + max(numbers, default=-1)
    fc2 = stored.get("decoder.layers.0.mlp.linear_fc2.weight", ())
    if len(fc2) == 2:
        seen["ffn_hidden_size"] = fc2[1]
    bias = "decoder.final_layernorm.bias" in stored
    seen["normalization"] = "LayerNorm" if bias else "RMSNorm"
    bias = "decoder.layers.0.mlp.linear_fc2.bias" in stored
    seen["add_bias_linear"] = bias
    if not bias:
        qkv_bias = "decoder.layers.0.self_attention.linear_qkv.bias"
        seen["add_qkv_bias"] = qkv_bias in stored
    seen["qk_layernorm"] = "decoder.layers.0.self_attention.q_layernorm.weight" in stored
    if one_stage:
        untied = "output_layer.weight" in stored
        seen["untie_embeddings_and_output_weights"] = untied
    return seen


def _seen_attention(
    args: Mapping[str, Any], stored: Mapping[str, Shape], path: Path
) -> dict[str, Any]:
    """Read the heads, their width and groups from the attention's rows.

    The projection takes heads x width columns; QKV gives (heads + 2 groups) x width rows.
    One of the three has to be known: the heads by hand, or the width by a norm per head.
    """
    prefix = "decoder.layers.0.self_attention."
    projection = stored.get(prefix + "linear_proj.weight", ())
    qkv = stored.get(prefix + "linear_qkv.weight", ())
    norm = stored.get(prefix + "q_layernorm.weight", ())
    if len(projection) != 2 or len(qkv) != 2:
        return {}
    if norm and norm[0]:
        heads = projection[1] // norm[0]
    elif "num_attention_heads" in args:
        heads = Fields(args, path).count("num_attention_heads")
    else:
        return {}
    width, rest = divmod(projection[1], heads)
    keys = qkv[0] - projection[1]
    groups, rest_of_groups = divmod(keys, 2 * width) if width else (0, 0)
    if rest or rest_of_groups or groups < 1 or heads % groups:
        raise CheckpointError(
            path,
            expected="a num_attention_heads that divides the attention's tensors: "
            f"{projection[1]} channels of queries, {keys} of keys and values",
            found=f"{heads}",
            hint="Correct it in the architecture given.",
        )
    seen = {"num_attention_heads": heads, "kv_channels": width}
    if groups == heads:  # without grouping, Megatron's num_query_groups means nothing
        return seen | {"group_query_attention": False}
    return seen | {"group_query_attention": True, "num_query_groups": groups}


def _gated(stored: Mapping[str, Shape]) -> bool:
    fc1 = stored.get("decoder.layers.0.mlp.linear_fc1.weight", ())
    fc2 = stored.get("decoder.layers.0.mlp.linear_fc2.weight", ())
    return len(fc1) == len(fc2) == 2 and fc1[0] == 2 * fc2[1]


def _missing(args: Mapping[str, Any], *, gated: bool) -> list[str]:
    """Name what no shape tells and no default of Megatron's settles."""
    missing = [] if "num_attention_heads" in args else ["num_attention_heads"]
    if "max_position_embeddings" not in args:
        missing.append("max_position_embeddings")
    rotary = args.get("use_rotary_position_embeddings")
    if "position_embedding_type" not in args and not rotary:
        missing.append("position_embedding_type (rope or none)")
    if gated and not args.get("swiglu") and "bias_gelu_fusion" not in args:
        missing.append(f"swiglu, or for a GEGLU {_WHICH_GELU}")
    elif not any(name in args for name in _ACTIVATION):
        missing.append(f"{_WHICH_GELU}, or squared_relu")
    return missing
