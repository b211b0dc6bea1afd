"""Variants that no golden shows, made by hand from goldens and random models.

Sources: load_checkpoint of Megatron-LM's checkpointing.py for what is looked up where, and
Transformer Engine's MultiheadAttention and LayerNormMLP for the names in its own layers.
"""

from __future__ import annotations

import argparse
import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from shards import of_rank, of_stage
from tiny import GPT2, LLAMA, random_weights

from megatick_export import Architecture, Checkpoint, read_checkpoint, reference_network
from megatick_export.checkpoint.arguments import arguments_of
from megatick_export.errors import CheckpointError, UnsupportedArchitecture

GOLDEN = Path(__file__).parents[1] / "golden"

State = dict[str, Any]


def save(folder: Path, model: State, rank: str = "mp_rank_00", **more: Any) -> Path:
    """Save one rank's file; ``args`` is a mapping."""
    args = argparse.Namespace(**more.pop("args"))
    state = {"args": args, "checkpoint_version": 3.0, "model": model, **more}
    (folder / rank).mkdir(parents=True)
    torch.save(state, folder / rank / "model_optim_rng.pt")
    return folder


def renamed(checkpoint: Checkpoint, *pairs: tuple[str, str]) -> State:
    """Every tensor under the name that replacing each pair in turn gives."""
    model = {}
    for name, tensor in checkpoint.weights.items():
        for ours, theirs in pairs:
            name = name.replace(ours, theirs)
        model[name] = tensor.clone()
    return model


def assert_same_weights(read: Checkpoint, whole: Checkpoint) -> None:
    assert read.weights.keys() == whole.weights.keys()
    for name, tensor in whole.weights.items():
        assert torch.equal(read.weights[name], tensor), name


def logit_error(checkpoint: Checkpoint, golden: str) -> float:
    """How far the network is from the logits that Megatron computed for a golden."""
    with np.load(GOLDEN / golden / "reference.npz") as arrays:
        ids, logits = (torch.from_numpy(arrays[key]) for key in ("input_ids", "logits"))
    return float((reference_network(checkpoint)(ids) - logits).abs().max())


TE_LAYERS = (
    ("embedding.", "language_model.embedding."),
    ("output_layer.", "language_model.output_layer."),
    ("decoder.final_layernorm", "language_model.encoder.final_norm"),
    ("decoder.", "language_model.encoder."),
    ("input_layernorm.", "self_attention.layernorm_qkv.layer_norm_"),
    ("linear_qkv", "layernorm_qkv"),
    ("linear_proj", "proj"),
    ("pre_mlp_layernorm.", "layernorm_mlp.layer_norm_"),
    ("mlp.linear_fc1.", "layernorm_mlp.fc1_"),
    ("mlp.linear_fc2.", "layernorm_mlp.fc2_"),
)


class TestTransformerEnginesOwnLayers:
    """Legacy models could use its TransformerLayer."""

    def test_it_is_the_same_model(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "llama")
        model = renamed(whole, *TE_LAYERS)
        extra = "language_model.encoder.layers.0.layernorm_mlp._extra_state"
        model[extra] = io.BytesIO(b"FP8 scales")

        read = read_checkpoint(save(tmp_path, model, args=whole.args))

        assert_same_weights(read, whole)
        assert logit_error(read, "llama") < 5e-5

    def test_two_ranks(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "llama")
        args = {**whole.args, "tensor_model_parallel_size": 2}
        for rank in range(2):
            part = of_rank(dict(whole.weights), rank, 2, gated=True)
            model = renamed(replace(whole, weights=part), *TE_LAYERS)
            save(tmp_path, model, f"mp_rank_{rank:02d}", args=args)

        assert_same_weights(read_checkpoint(tmp_path), whole)


def stages_of(
    folder: Path, architecture: Architecture, split: list[list[int]], ranks: int
) -> dict[str, torch.Tensor]:
    """Save a random model with ``split[run][stage]`` layers in each place."""
    layers = sum(map(sum, split))
    a = replace(architecture, num_layers=layers, classes=None)
    weights = random_weights(replace(a, classes=3))
    weights = {name: weights[name] for name in a.shapes()}
    table = weights["embedding.word_embeddings.weight"]
    stages = len(split[0])
    args = arguments_of(a, torch.float32, path=folder) | {
        "tensor_model_parallel_size": ranks,
        "pipeline_model_parallel_size": stages,
    }
    done = 0
    chunks = {}
    for run, counts in enumerate(split):
        for stage, count in enumerate(counts):
            last = run == len(split) - 1 and stage == stages - 1
            chunks[run, stage] = of_stage(
                {**weights, "output_layer.weight": table},  # the last stage's copy
                range(done, done + count),
                first=run == stage == 0,
                last=last,
            )
            done += count
    for stage in range(stages):
        for rank in range(ranks):
            parts = [
                of_rank(chunks[run, stage], rank, ranks, gated=a.gated)
                for run in range(len(split))
            ]
            state = {f"model{run}": part for run, part in enumerate(parts)}
            file = folder / f"mp_rank_{rank:02d}_{stage:03d}"
            file.mkdir(parents=True)
            saved = {"args": argparse.Namespace(**args), "checkpoint_version": 3.0}
            torch.save({**saved, **state}, file / "model_optim_rng.pt")
    return weights


class TestUnevenStages:
    """As pipeline_model_parallel_layout and decoder_first_pipeline_num_layers make them."""

    @pytest.mark.parametrize("ranks", [1, 2])
    @pytest.mark.parametrize(
        "split",
        [
            [[1, 3, 2]],
            [[0, 3, 2]],  # the embedding alone
            [[2, 2, 0]],  # the output layer alone
            [[1, 2], [2, 1]],
            [[0, 2], [1, 1], [2, 0]],
            [[1] * 12],
        ],
        ids=str,
    )
    @pytest.mark.parametrize("architecture", [LLAMA, GPT2], ids=["llama", "gpt2"])
    def test_layers_keep_their_order(
        self, tmp_path: Path, architecture: Architecture, split: list[list[int]], ranks: int
    ) -> None:
        weights = stages_of(tmp_path, architecture, split, ranks)

        read = read_checkpoint(tmp_path)

        assert read.architecture.num_layers == sum(map(sum, split))
        assert (read.pipeline_parallel, read.virtual_stages) == (len(split[0]), len(split))
        for name, tensor in weights.items():
            assert torch.equal(read.weights[name], tensor), name

    def test_a_lost_last_run_is_not_taken_for_a_shorter_model(self, tmp_path: Path) -> None:
        stages_of(tmp_path, LLAMA, [[1, 1], [1, 1]], 1)
        for file in tmp_path.glob("*/model_optim_rng.pt"):
            state = torch.load(file, weights_only=False)
            del state["model1"]
            torch.save(state, file)

        with pytest.raises(CheckpointError, match="found no such tensor"):
            read_checkpoint(tmp_path)


class TestOldTrees:
    @pytest.mark.parametrize("wrapper", ["", "module."])
    def test_flat_names_of_a_legacy_model_keep_its_order_of_qkv(
        self, tmp_path: Path, wrapper: str
    ) -> None:
        """A plain ``state_dict()`` is flat, and wrapped ones begin with ``module``."""
        whole = read_checkpoint(GOLDEN / "gpt2")
        model = renamed(
            whole,
            ("embedding.", f"{wrapper}language_model.embedding."),
            ("decoder.", f"{wrapper}language_model.transformer."),
            ("self_attention.linear_qkv", "attention.query_key_value"),
            ("self_attention.linear_proj", "attention.dense"),
            ("pre_mlp_layernorm", "post_attention_layernorm"),
            ("linear_fc1", "dense_h_to_4h"),
            ("linear_fc2", "dense_4h_to_h"),
        )
        for name in [name for name in model if "query_key_value" in name]:
            rows = model[name].unflatten(0, (4, 3, 8))
            model[name] = rows.transpose(0, 1).flatten(0, 2).contiguous()

        folder = save(tmp_path, model, args=whole.args, checkpoint_version=0)

        assert_same_weights(read_checkpoint(folder), whole)

    def test_the_iteration_of_2019(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")

        folder = save(tmp_path, dict(whole.weights), args=whole.args, total_iters=12)

        assert read_checkpoint(folder).iteration == 12


class TestBesideTheModel:
    def test_a_training_state_is_left_alone(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")
        moments = {0: {"exp_avg": torch.zeros(3), "step": 5}}
        save(
            tmp_path,
            {"module." + name: tensor for name, tensor in whole.weights.items()},
            args=whole.args,
            optimizer={"optimizer": {"state": moments}, "fp32_from_fp16_params": [[]]},
            opt_param_scheduler={"max_lr": 1e-4},
            rng_state=[{"np_rng_state": np.random.RandomState(0).get_state()}],
            rerun_state_machine={"mode": "disabled"},
        )
        torch.save({"buckets": []}, tmp_path / "mp_rank_00" / "distrib_optim.pt")
        (tmp_path / "mp_rank_00_000").mkdir()  # of a data-parallel rank
        torch.save({"buckets": []}, tmp_path / "mp_rank_00_000" / "distrib_optim.pt")

        assert_same_weights(read_checkpoint(tmp_path), whole)

    @pytest.mark.parametrize(
        "extra",
        [None, torch.zeros(0, dtype=torch.uint8), io.BytesIO(b"scales")],
        ids=["none", "tensor", "bytes"],
    )
    def test_fp8_scales_are_left_alone(self, tmp_path: Path, extra: object) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")
        model: State = dict(whole.weights)
        for module in ("self_attention.linear_qkv", "mlp.linear_fc2", "self_attention"):
            model[f"decoder.layers.1.{module}._extra_state"] = extra

        folder = save(tmp_path, model, args=whole.args)

        assert_same_weights(read_checkpoint(folder), whole)

    def test_norms_in_float32_beside_weights_in_bfloat16(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "llama")
        mixed = {
            name: tensor if "norm" in name else tensor.bfloat16()
            for name, tensor in whole.weights.items()
        }

        read = read_checkpoint(save(tmp_path, mixed, args=whole.args))

        assert read.dtype == torch.bfloat16
        assert {name: t.dtype for name, t in read.weights.items()} == {
            name: t.dtype for name, t in mixed.items()
        }


class TestArgsThatOnlyLookDangerous:
    @pytest.mark.parametrize(
        "args",
        [
            {"moe_layer_freq": 1, "moe_router_topk": 2, "moe_grouped_gemm": False},
            {"window_attn_skip_freq": 2, "window_size": None},
            {"rotary_scaling_factor": 1.0, "rope_scaling_factor": 8.0, "mscale": 1.0},
            {"rope_type": "rope", "no_rope_freq": None, "mrope_section": None},
            {"apply_query_key_layer_scaling": True, "attention_softmax_in_fp32": True},
            {"linear_attention_freq": None, "linear_conv_kernel_dim": 4},
            {"decoder_first_pipeline_num_layers": 1, "num_layers_at_end_in_bf16": 1},
            {"fp8": "hybrid", "fp8_param_gather": False, "first_last_layers_bf16": True},
            {
                "reset_position_ids": True,
                "eod_mask_loss": True,
                "fp32_residual_connection": 1,
            },
        ],
        ids=lambda args: next(iter(args)),
    )
    def test_they_leave_the_model_alone(self, tmp_path: Path, args: State) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")

        folder = save(tmp_path, dict(whole.weights), args={**whole.args, **args})

        assert read_checkpoint(folder).architecture == whole.architecture

    @pytest.mark.parametrize(
        ("arg", "value"),
        [
            ("softmax_scale", 0.5),
            ("linear_attention_type", "gated_delta_net"),
            ("linear_attention_freq", 4),
        ],
    )
    def test_others_do_not(self, tmp_path: Path, arg: str, value: object) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")
        folder = save(tmp_path, dict(whole.weights), args={**whole.args, arg: value})

        with pytest.raises(UnsupportedArchitecture, match=f"{arg}={value!r} is not supp"):
            read_checkpoint(folder)

    def test_the_old_flag_of_rotary_positions(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "llama")
        old = {
            "position_embedding_type": "learned_absolute",
            "use_rotary_position_embeddings": True,
        }

        folder = save(tmp_path, dict(whole.weights), args={**whole.args, **old})

        assert read_checkpoint(folder).architecture == whole.architecture

    def test_rotary_beside_a_learned_table_is_refused(self, tmp_path: Path) -> None:
        """Possible in 2023 without ``--no-position-embedding``: both were added."""
        whole = read_checkpoint(GOLDEN / "gpt2")
        args = {**whole.args, "use_rotary_position_embeddings": True}

        folder = save(tmp_path, dict(whole.weights), args=args)

        with pytest.raises(CheckpointError, match=r"position_embeddings\.weight.*one more"):
            read_checkpoint(folder)
