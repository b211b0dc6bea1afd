"""One naming for the tensors of every Megatron since 2019.

The canonical names are Megatron-core's own in the ``torch`` format; ``Architecture.shapes``
lists them.  What other trees call the same tensor was read from files that those trees
wrote: v1.0 (2019), v2.x, v2.5, core 0.8 with legacy models, core 0.14 to 0.19.
"""

from __future__ import annotations

import re
from typing import Final

# Tried in turn; the first that matches the start of a name replaces it.
_STARTS: Final = (
    (r"language_model\.embedding\.", "embedding."),
    (r"(language_model\.(transformer|encoder)|encoder)\.layers\.", "decoder.layers."),
    (
        r"(language_model\.(transformer|encoder)|encoder)\.final_(layer)?norm\.",
        "decoder.final_layernorm.",
    ),
    (r"language_model\.(pooler|output_layer)\.", r"\1."),
    # The last pipeline stage of a tied model keeps a copy of the word embedding.
    (r"word_embeddings(_for_head)?\.", "output_layer."),
    (r"lm_head\.layernorm\.", "lm_head.layer_norm."),
    (r"lm_head\.bias$", "output_layer.bias"),
)
# All tried, inside ``decoder.layers.``.
_PARTS: Final = (
    (r"\.(self_)?attention\.", ".self_attention."),
    (r"\.query_key_value\.", ".linear_qkv."),
    (r"\.self_attention\.dense\.", ".self_attention.linear_proj."),
    (r"\.dense_h_to_4h\.", ".linear_fc1."),
    (r"\.dense_4h_to_h\.", ".linear_fc2."),
    (r"\.input_norm\.", ".input_layernorm."),
    (r"\.post_attention_(layer)?norm\.", ".pre_mlp_layernorm."),
    # The whole layer of Transformer Engine, which legacy models could be built from.
    (r"\.self_attention\.layernorm_qkv\.", ".self_attention.linear_qkv."),
    (r"\.self_attention\.proj\.", ".self_attention.linear_proj."),
    (r"\.layernorm_mlp\.layer_norm_", ".mlp.linear_fc1.layer_norm_"),
    (r"\.layernorm_mlp\.fc([12])_", r".mlp.linear_fc\1."),
    # Transformer Engine fuses a norm into the linear layer behind it, and torch_dist
    # uses its names whatever the model was built from.
    (r"\.self_attention\.linear_qkv\.layer_norm_", ".input_layernorm."),
    (r"\.mlp\.linear_fc1\.layer_norm_", ".pre_mlp_layernorm."),
)
_FUSED: Final = (
    (r"\.input_layernorm\.", ".self_attention.linear_qkv.layer_norm_"),
    (r"\.pre_mlp_layernorm\.", ".mlp.linear_fc1.layer_norm_"),
)
# Not weights: optimizer and random state, FP8 scales, recomputed tables.
_IGNORED: Final = re.compile(
    r"(optimizer|chained_\d+|rng_state|common_state|rerun_state_machine_state)\b.*"
    r"|.*\._extra_state([/.].*)?|(.*\.)?inv_freq"
)


def is_weight(name: str) -> bool:
    """Tell a weight of the model from the rest of a training state.

    >>> is_weight("optimizer.state.exp_avg.output_layer.weight")
    False
    """
    return _IGNORED.fullmatch(name) is None


def is_legacy(name: str) -> bool:
    """Tell a name given by Megatron's models of before its core.

    >>> is_legacy("module.language_model.embedding.word_embeddings.weight")
    True
    """
    return _without_wrappers(name).startswith("language_model.")


def canonical_name(name: str) -> str:
    """Translate a stored tensor's name; an unknown one comes back as it is.

    >>> canonical_name("language_model.encoder.layers.3.post_attention_norm.weight")
    'decoder.layers.3.pre_mlp_layernorm.weight'
    """
    name = _without_wrappers(name)
    for pattern, replacement in _STARTS:
        name, count = re.subn("^" + pattern, replacement, name)
        if count:
            break
    if name.startswith("decoder.layers."):
        for pattern, replacement in _PARTS:
            name = re.sub(pattern, replacement, name)
    return name


def _without_wrappers(name: str) -> str:
    """Take off what data parallelism and mixed precision put before a model's names."""
    return re.sub(r"^(module\.|model\.)+", "", name)


def torch_dist_name(name: str, *, encoder: bool) -> str:
    """Name a canonical tensor as Megatron-core stores it in torch_dist.

    Args:
        name: canonical; a stacked tensor has its layer number left out.
        encoder: BERT's stack is called ``encoder``.

    >>> torch_dist_name("decoder.layers.input_layernorm.weight", encoder=False)
    'decoder.layers.self_attention.linear_qkv.layer_norm_weight'
    """
    if name.startswith("decoder.layers."):
        for pattern, replacement in _FUSED:
            name = re.sub(pattern, replacement, name)
    return re.sub("^decoder", "encoder", name) if encoder else name
