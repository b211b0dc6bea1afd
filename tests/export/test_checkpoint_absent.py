"""Checkpoints without args: the shapes, and an architecture written by hand.

NVIDIA's public releases are of this kind.  Those here are made by hand from golden
checkpoints: names and nesting are what Hugging Face's convert_megatron_gpt2_checkpoint
and convert_megatron_bert_checkpoint read in the 345M releases, QKV in version 0's order.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from megatick_export import (
    Architecture,
    Checkpoint,
    read_architecture_file,
    read_checkpoint,
    reference_network,
)
from megatick_export.checkpoint.absent import completed_args
from megatick_export.checkpoint.arguments import architecture_of
from megatick_export.errors import CheckpointError

GOLDEN = Path(__file__).parents[1] / "golden"
SAID = {"num_attention_heads": 4, "bias_gelu_fusion": True}

State = dict[str, Any]


def public_release(folder: Path, name: str, **more: Any) -> Path:
    """Save a golden checkpoint as the 345M releases are."""
    whole = read_checkpoint(GOLDEN / name)
    model: State = {"language_model": {"embedding": {}, "transformer": {}}}
    language_model: State = model["language_model"]
    for name, tensor in whole.weights.items():
        tensor = tensor.clone()
        first, rest = name.split(".", 1)
        if first == "embedding":
            table = rest.removesuffix(".weight")
            language_model["embedding"][table] = {"weight": tensor}
        elif first == "decoder":
            if "linear_qkv" in rest:  # [heads, (q, k, v), channels] as it was in 2019
                rows = tensor.unflatten(0, (4, 3, 8))  # type: ignore[no-untyped-call]
                tensor = rows.transpose(0, 1).flatten(0, 2).contiguous()
            for ours, theirs in (
                ("self_attention.linear_qkv", "attention.query_key_value"),
                ("self_attention.linear_proj", "attention.dense"),
                ("pre_mlp_layernorm", "post_attention_layernorm"),
                ("linear_fc1", "dense_h_to_4h"),
                ("linear_fc2", "dense_4h_to_h"),
            ):
                rest = rest.replace(ours, theirs)
            language_model["transformer"][rest] = tensor
        elif first == "pooler":
            language_model.setdefault("pooler", {})[rest] = tensor
        elif name == "output_layer.bias":
            model.setdefault("lm_head", {})["bias"] = tensor
        else:
            rest = rest.replace("layer_norm", "layernorm")
            model.setdefault(first, {})[rest] = tensor
    rank = folder / "release" / "mp_rank_00"
    rank.mkdir(parents=True)
    torch.save({"model": model, "iteration": 0, **more}, rank / "model_optim_rng.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text("release")
    return folder


def assert_logits_are_megatrons(checkpoint: Checkpoint, name: str) -> None:
    with np.load(GOLDEN / name / "reference.npz") as arrays:
        inputs = [
            torch.from_numpy(arrays[key])
            for key in ("input_ids", "attention_mask", "tokentype_ids")
            if key in arrays
        ]
        expected = torch.from_numpy(arrays["logits"])
    error = (reference_network(checkpoint)(*inputs) - expected).abs()
    if len(inputs) > 1:
        error = error[inputs[1] > 0]  # padding has no meaning
    assert error.max().item() < 5e-5


class TestPublicReleases:
    @pytest.mark.parametrize("name", ["gpt2", "bert"])
    def test_it_is_the_model_that_megatron_ran(self, tmp_path: Path, name: str) -> None:
        folder = public_release(tmp_path, name)

        read = read_checkpoint(folder, absent_args=SAID)

        assert read.architecture == read_checkpoint(GOLDEN / name).architecture
        assert read.path == folder / "release"
        assert_logits_are_megatrons(read, name)

    def test_a_version_said_by_hand(self, tmp_path: Path) -> None:
        """Rows in 2.0's order are left alone; so these come out otherwise."""
        folder = public_release(tmp_path, "gpt2")

        read = read_checkpoint(folder, absent_args=SAID | {"checkpoint_version": 2.0})

        whole = read_checkpoint(GOLDEN / "gpt2")
        name = "decoder.layers.0.self_attention.linear_qkv.weight"
        assert not torch.equal(read.weights[name], whole.weights[name])

    def test_what_no_shape_tells_is_named(self, tmp_path: Path) -> None:
        folder = public_release(tmp_path, "gpt2")

        with pytest.raises(CheckpointError) as refusal:
            read_checkpoint(folder, absent_args={"bias_gelu_fusion": True})

        assert refusal.value.expected == "num_attention_heads, which no shape tells"
        assert "--architecture" in refusal.value.hint

    def test_which_gelu_is_not_guessed(self, tmp_path: Path) -> None:
        folder = public_release(tmp_path, "gpt2")

        with pytest.raises(CheckpointError, match=r"expected bias_gelu_fusion \(true"):
            read_checkpoint(folder, absent_args={"num_attention_heads": 4})


def without_args(folder: Path, name: str) -> Path:
    """Save a golden checkpoint in one file, its args left out."""
    model = dict(read_checkpoint(GOLDEN / name).weights)
    rank = folder / "mp_rank_00"
    rank.mkdir(parents=True)
    torch.save({"model": model}, rank / "model_optim_rng.pt")
    return folder


class TestShapes:
    @pytest.mark.parametrize(
        ("name", "said"),
        [
            (
                "llama",
                {
                    "num_attention_heads": 4,
                    "swiglu": True,
                    "position_embedding_type": "rope",
                    "max_position_embeddings": 24,
                    "rotary_base": 500000,
                    "norm_epsilon": 1e-6,
                },
            ),
            (  # the heads come from the norm on each
                "options",
                {
                    "squared_relu": True,
                    "position_embedding_type": "rope",
                    "max_position_embeddings": 24,
                    "rotary_base": 500000,
                    "rotary_percent": 0.5,
                    "rotary_interleaved": True,
                    "norm_epsilon": 1e-6,
                },
            ),
        ],
    )
    def test_they_tell_the_rest(
        self, tmp_path: Path, name: str, said: dict[str, Any]
    ) -> None:
        read = read_checkpoint(without_args(tmp_path, name), absent_args=said)

        assert read.architecture == read_checkpoint(GOLDEN / name).architecture
        assert_logits_are_megatrons(read, name)

    def test_a_gate_without_its_activation(self, tmp_path: Path) -> None:
        said = {"num_attention_heads": 4, "position_embedding_type": "none"}

        with pytest.raises(CheckpointError) as refusal:
            read_checkpoint(without_args(tmp_path, "llama"), absent_args=said)

        assert refusal.value.expected.startswith("max_position_embeddings, swiglu, or")

    @pytest.mark.parametrize(
        ("said", "expected", "found"),
        [
            ({"num_layers": 3}, "num_layers=2, as", "3 in"),
            ({"hidden_size": 64}, "hidden_size=32, as", "64 in"),
            ({"num_attention_heads": 5}, "32 channels of queries, 64 of keys", "5"),
            ({"position_embedding_type": "rope"}, "'learned_absolute', as", "'rope' in"),
        ],
    )
    def test_a_contradiction_is_named(
        self, tmp_path: Path, said: dict[str, Any], expected: str, found: str
    ) -> None:
        with pytest.raises(CheckpointError) as refusal:
            read_checkpoint(without_args(tmp_path, "gpt2"), absent_args=SAID | said)

        assert expected in refusal.value.expected
        assert refusal.value.found.startswith(found)


class TestFile:
    def test_the_example_of_the_docs_makes_the_345m_gpt2(self, tmp_path: Path) -> None:
        text = (GOLDEN.parents[1] / "docs" / "checkpoints.md").read_text()
        example = text.split("```toml")[1].split("```")[0]
        (tmp_path / "gpt2_345m.toml").write_text(example)
        public = Architecture(
            kind="gpt",
            num_layers=24,
            hidden_size=1024,
            num_attention_heads=16,
            num_query_groups=16,
            kv_channels=64,
            ffn_hidden_size=4096,
            vocab_size=50304,
            max_position_embeddings=1024,
            position_embedding="learned",
            normalization="LayerNorm",
            norm_epsilon=1e-5,
            activation="gelu_tanh",
            gated=False,
            linear_bias=True,
            qkv_bias=True,
            tied_embeddings=True,
        )

        said = read_architecture_file(tmp_path / "gpt2_345m.toml")
        args = completed_args(said, public.shapes(), path=tmp_path, one_stage=True)

        read = architecture_of(args, public.shapes(), path=tmp_path, legacy_models=True)
        assert read == public

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("a.json", json.dumps(SAID)),
            ("a.toml", "num_attention_heads = 4\nbias_gelu_fusion = true\n"),
        ],
    )
    def test_json_or_toml(self, tmp_path: Path, name: str, text: str) -> None:
        (tmp_path / name).write_text(text)

        assert read_architecture_file(tmp_path / name) == SAID

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("{", "expected a JSON object, found"),
            ("[1]", "expected a JSON object, found 'a list'"),
            ('{"num_atention_heads": 4}', "'num_atention_heads'.  Did you mean num_atten"),
            ('{"lr": 1}', "found 'lr'.  docs/checkpoints.md lists them"),
        ],
    )
    def test_what_is_wrong_with_it(self, tmp_path: Path, text: str, message: str) -> None:
        file = tmp_path / "architecture.json"
        file.write_text(text)

        with pytest.raises(CheckpointError) as refusal:
            read_architecture_file(file)

        assert message in str(refusal.value)
        assert refusal.value.path == file

    def test_a_missing_one(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="No such file"):
            read_architecture_file(tmp_path / "none.json")

    def test_a_value_of_another_type(self, tmp_path: Path) -> None:
        said = SAID | {"num_attention_heads": "four"}

        with pytest.raises(CheckpointError, match="whole number >= 1 in the field num_att"):
            read_checkpoint(without_args(tmp_path, "gpt2"), absent_args=said)
