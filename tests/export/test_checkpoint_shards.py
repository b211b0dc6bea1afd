"""Joining shards: each test cuts a whole model as Megatron does, then reads it back."""

from __future__ import annotations

import argparse
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from shards import Weights, of_rank, of_stage

from megatick_export.checkpoint import Checkpoint, read_checkpoint
from megatick_export.checkpoint.deferred import in_memory
from megatick_export.checkpoint.merge import join_stages
from megatick_export.errors import CheckpointError, UnsupportedArchitecture

GOLDEN = Path(__file__).parents[1] / "golden"


def assert_same(read: Checkpoint, whole: Checkpoint) -> None:
    assert read.architecture == whole.architecture
    assert read.weights.keys() == whole.weights.keys()
    for name, tensor in whole.weights.items():
        assert torch.equal(read.weights[name], tensor), name


def save_rank(
    folder: Path, name: str, whole: Checkpoint, state: dict[str, Any], **args: Any
) -> None:
    rank = folder / name
    rank.mkdir(parents=True)
    saved = argparse.Namespace(**{**whole.args, **args})
    torch.save({"args": saved, "iteration": 1, **state}, rank / "model_optim_rng.pt")


def test_a_rank_copied_over_another_is_refused(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "qwen_tp2_release", tmp_path / "copied")
    one, other = sorted((tmp_path / "copied").rglob("model_optim_rng.pt"))
    shutil.copyfile(one, other)

    with pytest.raises(CheckpointError, match="found the file of mp_rank_00 again"):
        read_checkpoint(tmp_path / "copied")


def test_stages_that_changed_their_names_are_refused(tmp_path: Path) -> None:
    shutil.copytree(GOLDEN / "gpt2_pp2_bf16", tmp_path / "renamed")
    one, other = sorted((tmp_path / "renamed").rglob("mp_rank_*"))
    one.rename(tmp_path / "aside")
    other.rename(one)
    (tmp_path / "aside").rename(other)

    with pytest.raises(CheckpointError, match="expected the embedding, as the first"):
        read_checkpoint(tmp_path / "renamed")


@pytest.mark.parametrize("name", ["gpt2", "llama"])
def test_two_tensor_ranks_by_two_stages(tmp_path: Path, name: str) -> None:
    whole = read_checkpoint(GOLDEN / name)
    weights = dict(whole.weights)
    if whole.architecture.tied_embeddings:  # the last stage keeps a copy
        weights["output_layer.weight"] = weights["embedding.word_embeddings.weight"]
    folder = tmp_path / "iter_0000001"
    for stage in range(2):
        layers = range(stage, stage + 1)
        staged = of_stage(weights, layers, first=stage == 0, last=stage == 1)
        for rank in range(2):
            part = of_rank(staged, rank, 2, gated=whole.architecture.gated)
            sizes = {"tensor_model_parallel_size": 2, "pipeline_model_parallel_size": 2}
            state = {"model": part, "checkpoint_version": 3.0}
            save_rank(folder, f"mp_rank_{rank:02d}_{stage:03d}", whole, state, **sizes)

    read = read_checkpoint(folder)

    assert_same(read, whole)
    assert (read.tensor_parallel, read.pipeline_parallel) == (2, 2)
    assert len(read.files) == 4


def test_virtual_stages_go_over_the_ranks_first(tmp_path: Path) -> None:
    """Stage 0 holds layers 0 and 2, stage 1 layers 1 and 3."""
    whole = read_checkpoint(GOLDEN / "gpt2")
    four = dict(whole.weights)
    for name, tensor in whole.weights.items():
        layer = re.match(r"decoder\.layers\.(\d)\.", name)
        if layer:
            further = name.replace(f"layers.{layer[1]}.", f"layers.{int(layer[1]) + 2}.")
            four[further] = tensor + 1
    for stage in range(2):
        chunks = {
            f"model{run}": of_stage(
                four,
                range(2 * run + stage, 2 * run + stage + 1),
                first=run == stage == 0,
                last=run == stage == 1,
            )
            for run in range(2)
        }
        args = {"num_layers": 4, "pipeline_model_parallel_size": 2}
        state = {**chunks, "checkpoint_version": 3.0}
        save_rank(tmp_path, f"mp_rank_00_{stage:03d}", whole, state, **args)

    read = read_checkpoint(tmp_path)

    assert read.architecture.num_layers == 4
    for name, tensor in four.items():
        assert torch.equal(read.weights[name], tensor), name


def test_runs_of_other_lengths_are_counted() -> None:
    """Embedding and loss count as layers: two stages, two runs each, six layers.

    By hand from get_transformer_layer_offset: (6 + 2) / 2 / 2 = 2 places a run, of which
    the first and the last run lose one, so runs begin at layers 0, 1, 3 and 5.
    """
    tensor = in_memory(torch.zeros(1))
    runs = [
        {f"decoder.layers.{layer}.{run}": tensor for layer in range(layers)}
        for run, layers in enumerate((1, 2, 2, 1))
    ]

    assert [*join_stages(runs)] == [
        f"decoder.layers.{layer}.{run}" for layer, run in enumerate((0, 1, 1, 2, 2, 3))
    ]


@pytest.mark.parametrize("ranks", [1, 2])
@pytest.mark.parametrize("version", [None, 1.0, 2.0])
def test_the_qkv_orders_of_old_trees(
    tmp_path: Path, version: float | None, ranks: int
) -> None:
    """Rows are [heads, (q, k, v), channels] since 2.0; before, two other orders."""
    whole = read_checkpoint(GOLDEN / "gpt2")
    heads = 4 // ranks
    for rank in range(ranks):
        part = of_rank(dict(whole.weights), rank, ranks, gated=False)
        for name in [name for name in part if "linear_qkv" in name]:
            rows = part[name].unflatten(0, (heads, 3, 8))  # type: ignore[no-untyped-call]
            if version is None:
                rows = rows.transpose(0, 1)  # [(q, k, v), heads, channels]
            elif version == 1.0:
                rows = rows.transpose(1, 2)  # [heads, channels, (q, k, v)]
            part[name] = rows.flatten(0, 2).contiguous()
        state: dict[str, Any] = {"model": nested(part)}
        if version is not None:
            state["checkpoint_version"] = version
        sizes = {"tensor_model_parallel_size": None, "model_parallel_size": ranks}
        save_rank(tmp_path, f"mp_rank_{rank:02d}", whole, state, **sizes)

    assert_same(read_checkpoint(tmp_path), whole)


def nested(weights: Weights) -> dict[str, Any]:
    """As Megatron's models before its core saved themselves."""
    embedding: dict[str, Any] = {}
    transformer: Weights = {}
    for name, tensor in weights.items():
        if name.startswith("embedding."):
            table = name.removeprefix("embedding.").removesuffix(".weight")
            embedding[table] = {"weight": tensor}
            continue
        for ours, theirs in (
            ("decoder.", ""),
            ("self_attention.linear_qkv", "attention.query_key_value"),
            ("self_attention.linear_proj", "attention.dense"),
            ("pre_mlp_layernorm", "post_attention_layernorm"),
            ("linear_fc1", "dense_h_to_4h"),
            ("linear_fc2", "dense_4h_to_h"),
        ):
            name = name.replace(ours, theirs)
        transformer[name] = tensor
    return {"language_model": {"embedding": embedding, "transformer": transformer}}


class TestIncomplete:
    def test_ranks_of_two_iterations_are_no_model(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")
        for rank in range(2):
            part = of_rank(dict(whole.weights), rank, 2, gated=False)
            state = {"model": part, "iteration": 100 + rank}
            sizes = {"tensor_model_parallel_size": 2}
            save_rank(tmp_path, f"mp_rank_{rank:02d}", whole, state, **sizes)

        expected = (
            r"rank_01/model_.*: expected iteration 100, as in mp_rank_00, found it.* 101"
        )
        with pytest.raises(CheckpointError, match=expected):
            read_checkpoint(tmp_path)

    def test_a_missing_rank_is_named(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")
        state = {"model": of_rank(dict(whole.weights), 0, 2, gated=False)}
        sizes = {"tensor_model_parallel_size": 2}
        save_rank(tmp_path, "mp_rank_00", whole, state, **sizes)

        with pytest.raises(CheckpointError, match=r"2 ranks.*1 without mp_rank_01\."):
            read_checkpoint(tmp_path)

    def test_a_rank_without_its_file(self, tmp_path: Path) -> None:
        (tmp_path / "mp_rank_00").mkdir()

        with pytest.raises(CheckpointError, match=r"mp_rank_00/model_optim_rng\.pt"):
            read_checkpoint(tmp_path)

    def test_ranks_of_different_runs(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")
        for rank in range(2):
            part = of_rank(dict(whole.weights), rank, 2 + rank, gated=False)
            sizes = {"tensor_model_parallel_size": 2}
            save_rank(tmp_path, f"mp_rank_{rank:02d}", whole, {"model": part}, **sizes)

        with pytest.raises(CheckpointError, match="between rank 0 and rank 1"):
            read_checkpoint(tmp_path)

    @pytest.mark.parametrize(
        ("name", "shape", "found"),
        [
            ("decoder.layers.0.self_attention.linear_proj.weight", (32,), (32,)),
            ("decoder.layers.0.self_attention.linear_qkv.weight", (), ()),
            ("decoder.layers.0.mlp.linear_fc1.weight", (3, 32), (6, 32)),
        ],
    )
    def test_shards_that_are_no_parts(
        self, tmp_path: Path, name: str, shape: tuple[int, ...], found: tuple[int, ...]
    ) -> None:
        whole = read_checkpoint(GOLDEN / "llama")
        sizes = {"tensor_model_parallel_size": 2}
        for rank in range(2):
            part = of_rank(dict(whole.weights), rank, 2, gated=True)
            state = {"model": {**part, name: torch.ones(shape)}}
            save_rank(tmp_path, f"mp_rank_{rank:02d}", whole, state, **sizes)

        with pytest.raises(CheckpointError, match=re.escape(f"shape {found}")) as refusal:
            read_checkpoint(tmp_path)
        assert refusal.value.tensor == name

    def test_a_third_number_of_zero_is_no_expert_parallelism(self, tmp_path: Path) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")
        state = {"model": dict(whole.weights), "checkpoint_version": 3.0}
        save_rank(tmp_path, "mp_rank_00_000_000", whole, state)

        assert_same(read_checkpoint(tmp_path), whole)

    def test_expert_parallel_folders(self, tmp_path: Path) -> None:
        (tmp_path / "mp_rank_00_000_001").mkdir()

        with pytest.raises(UnsupportedArchitecture, match="expert parallelism"):
            read_checkpoint(tmp_path)

    @pytest.mark.parametrize(
        "state", [{}, {"optimizer": {}}, {"model": None}], ids=lambda state: str(state)
    )
    def test_a_file_without_a_model(self, tmp_path: Path, state: dict[str, Any]) -> None:
        whole = read_checkpoint(GOLDEN / "gpt2")
        save_rank(tmp_path, "mp_rank_00", whole, state)

        with pytest.raises(CheckpointError, match="tensors under 'model'"):
            read_checkpoint(tmp_path)
