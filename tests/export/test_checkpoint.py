"""Reading checkpoints: where they are, what their args mean, and what is refused."""

from __future__ import annotations

import argparse
import json
import math
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.distributed.checkpoint.default_planner import DefaultSavePlanner
from torch.distributed.checkpoint.filesystem import FileSystemWriter
from torch.distributed.checkpoint.state_dict_saver import save

from megatick_export.checkpoint import Architecture, Checkpoint, read_checkpoint
from megatick_export.errors import CheckpointError, UnsupportedArchitecture

GOLDEN = Path(__file__).parents[1] / "golden"
ITERATION = "iter_0000007"


def save_torch(
    path: Path, checkpoint: Checkpoint, *, drop: str = "", legacy: bool = False, **args: Any
) -> Path:
    """Save a checkpoint in the ``torch`` layout with some args changed."""
    rank = path / "iter_0000001" / "mp_rank_00"
    rank.mkdir(parents=True)
    state = {
        "args": argparse.Namespace(**{**checkpoint.args, **args}),
        "checkpoint_version": 3.0,
        "iteration": 1,
        "model": dict(checkpoint.weights),
    }
    state.pop(drop, None)
    torch.save(
        state,
        rank / "model_optim_rng.pt",
        _use_new_zipfile_serialization=not legacy,
    )
    return rank.parent


def equal_weights(one: Checkpoint, other: Checkpoint) -> bool:
    return one.weights.keys() == other.weights.keys() and all(
        torch.equal(one.weights[name], other.weights[name]) for name in one.weights
    )


@pytest.fixture
def gpt2() -> Checkpoint:
    return read_checkpoint(GOLDEN / "gpt2")


@pytest.fixture
def llama() -> Checkpoint:
    return read_checkpoint(GOLDEN / "llama")


class TestWhatIsRead:
    def test_architecture(self, llama: Checkpoint) -> None:
        """As LLAMA in make_checkpoints.py."""
        assert llama.architecture == Architecture(
            kind="gpt",
            num_layers=2,
            hidden_size=32,
            num_attention_heads=4,
            num_query_groups=2,
            kv_channels=8,
            ffn_hidden_size=48,
            vocab_size=128,
            max_position_embeddings=24,
            position_embedding="rope",
            rotary_base=500000.0,
            normalization="RMSNorm",
            norm_epsilon=1e-6,
            activation="silu",
            gated=True,
            linear_bias=False,
            qkv_bias=False,
            tied_embeddings=False,
        )

    def test_bert_has_its_heads(self) -> None:
        architecture = read_checkpoint(GOLDEN / "bert").architecture

        assert architecture.kind == "bert"
        assert architecture.num_tokentypes == 2
        assert architecture.lm_head
        assert architecture.pooler
        assert architecture.binary_head
        assert architecture.pooling == "first"

    def test_facts_for_the_receipt(self, llama: Checkpoint) -> None:
        # Embedding and output 2 * 128 * 32; a layer: QKV (4 + 2 + 2) * 8 * 32,
        # projection 32 * 32, fc1 2 * 48 * 32, fc2 32 * 48, norms 2 * 32; final norm 32.
        layer = 64 * 32 + 32 * 32 + 96 * 32 + 32 * 48 + 64
        assert llama.num_parameters == 2 * 128 * 32 + 2 * layer + 32
        assert llama.iteration == 7
        assert llama.layout == "torch_dist"
        assert llama.dtype == torch.float32
        assert (llama.tensor_parallel, llama.pipeline_parallel) == (1, 1)
        assert {file.name for file in llama.files} == {
            ".metadata",
            "common.pt",
            "__0_0.distcp",
            "__0_1.distcp",
        }
        assert llama.args["normalization"] == "RMSNorm"
        assert "attention_backend" not in llama.args  # an enum, no plain value

    def test_the_stored_dtype_is_kept(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        folder = save_torch(tmp_path, gpt2)
        file = folder / "mp_rank_00" / "model_optim_rng.pt"
        state = torch.load(file, weights_only=False)
        state["model"] = {k: v.bfloat16() for k, v in state["model"].items()}
        torch.save(state, file)

        assert read_checkpoint(folder).dtype == torch.bfloat16


class TestWhereItIs:
    @pytest.mark.parametrize(
        "inside",
        [
            "",
            ITERATION,
            f"{ITERATION}/mp_rank_00",
            f"{ITERATION}/mp_rank_00/model_optim_rng.pt",
        ],
    )
    def test_any_folder_of_it(self, inside: str) -> None:
        assert read_checkpoint(GOLDEN / "gpt2" / inside).iteration == 7

    def test_a_release(self, tmp_path: Path) -> None:
        shutil.copytree(GOLDEN / "llama" / ITERATION, tmp_path / "release")
        (tmp_path / "latest_checkpointed_iteration.txt").write_text("release\n")

        assert read_checkpoint(str(tmp_path)).path == tmp_path / "release"

    def test_nothing_there(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match=r"missing: expected .* found nothing"):
            read_checkpoint(tmp_path / "missing")

    def test_an_empty_folder(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="found an empty folder"):
            read_checkpoint(tmp_path)

    def test_no_tracker(self, tmp_path: Path) -> None:
        (tmp_path / ITERATION).mkdir()

        with pytest.raises(CheckpointError, match=f"found {ITERATION}.*Pass one"):
            read_checkpoint(tmp_path)

    @pytest.mark.parametrize("text", ["", "latest", "../7", "-7", "7" * 5000], ids=len)
    def test_a_tracker_of_nonsense(self, tmp_path: Path, text: str) -> None:
        (tmp_path / "latest_checkpointed_iteration.txt").write_text(text)

        with pytest.raises(CheckpointError, match="expected a whole number"):
            read_checkpoint(tmp_path)

    @pytest.mark.parametrize(
        ("inside", "given"),
        [
            (f"{ITERATION}/mp_rank_00", "model_optim_rng.pt"),
            (f"{ITERATION}/mp_rank_00", "."),
            (ITERATION, "mp_rank_00"),
            (ITERATION, "mp_rank_00/model_optim_rng.pt"),
            (ITERATION, "."),
            ("", ITERATION),
        ],
    )
    def test_a_relative_path(
        self, monkeypatch: pytest.MonkeyPatch, inside: str, given: str
    ) -> None:
        monkeypatch.chdir(GOLDEN / "gpt2" / inside)

        read = read_checkpoint(given)

        assert read.iteration == 7
        assert read.path == GOLDEN / "gpt2" / ITERATION

    @pytest.mark.parametrize("given", ["", "model_optim_rng.pt"], ids=["folder", "file"])
    def test_a_lone_file(self, tmp_path: Path, gpt2: Checkpoint, given: str) -> None:
        lone = tmp_path / "lone"
        lone.mkdir()
        shutil.copy(gpt2.files[0], lone)
        (tmp_path / "mp_rank_00").mkdir()  # of another model, for all one can know

        read = read_checkpoint(lone / given)

        assert equal_weights(read, gpt2)
        assert read.path == lone
        assert read.files == (lone / "model_optim_rng.pt",)

    def test_a_lone_file_of_several(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        sizes: dict[str, Any] = {
            "tensor_model_parallel_size": 2,
            "pipeline_model_parallel_size": 2,
        }
        file = save_torch(tmp_path, gpt2, **sizes) / "mp_rank_00" / "model_optim_rng.pt"
        lone = Path(shutil.copy(file, tmp_path))

        with pytest.raises(CheckpointError) as refusal:
            read_checkpoint(lone)

        message = str(refusal.value)
        assert message.startswith(f"{lone}: expected 4 ranks: 2 tensor-parallel x 2")
        needed = "mp_rank_00_000, mp_rank_00_001, mp_rank_01_000, mp_rank_01_001, each"
        assert needed in message

    def test_a_path_that_no_system_has(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="File name too long"):
            read_checkpoint(tmp_path / ("x" * 300))

    def test_a_tracker_to_nowhere(self, tmp_path: Path) -> None:
        (tmp_path / "latest_checkpointed_iteration.txt").write_text("12")

        with pytest.raises(CheckpointError, match=r"iter_0000012.*no such folder"):
            read_checkpoint(tmp_path)

    @pytest.mark.parametrize("backend", ["zarr", "fsdp_dtensor"])
    def test_other_layouts_by_name(self, tmp_path: Path, backend: str) -> None:
        metadata = {"sharded_backend": backend, "sharded_backend_version": 1}
        (tmp_path / "metadata.json").write_text(json.dumps(metadata))

        with pytest.raises(CheckpointError, match=f"{backend}.*--ckpt-format"):
            read_checkpoint(tmp_path)


class TestLayouts:
    def test_per_layer_keys_gated_halves_and_common_state(
        self, tmp_path: Path, llama: Checkpoint
    ) -> None:
        """As core 0.19 saves with ``singleton_local_shards``."""
        state: dict[str, Any] = dict(llama.weights)
        for name in [name for name in state if name.endswith("linear_fc1.weight")]:
            gate, up = state.pop(name).chunk(2)
            state |= {f"{name}_w": gate.clone(), f"{name}_v": up.clone()}
        common = {"args": argparse.Namespace(**llama.args), "iteration": 9}
        state["common_state/shard_0_1"] = [common]
        state["optimizer.state.exp_avg.output_layer.weight"] = torch.zeros(2)
        writer = FileSystemWriter(tmp_path)
        planner = DefaultSavePlanner(flatten_state_dict=False)
        with pytest.warns(UserWarning, match=r"torch\.distributed is disabled"):
            save(state, storage_writer=writer, planner=planner, no_dist=True)

        read = read_checkpoint(tmp_path)

        assert read.iteration == 9
        assert read.architecture == llama.architecture
        assert equal_weights(read, llama)

    def test_files_of_torch_before_1_6(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        folder = save_torch(tmp_path, gpt2, legacy=True)

        assert equal_weights(read_checkpoint(folder), gpt2)

    def test_transformer_engines_names_and_extra_state(
        self, tmp_path: Path, gpt2: Checkpoint
    ) -> None:
        fused = {".input_layernorm.": ".self_attention.linear_qkv.layer_norm_"}
        fused |= {".pre_mlp_layernorm.": ".mlp.linear_fc1.layer_norm_"}
        folder = save_torch(tmp_path, gpt2)
        file = folder / "mp_rank_00" / "model_optim_rng.pt"
        state = torch.load(file, weights_only=False)
        renamed = {}
        for name, tensor in state["model"].items():
            for ours, theirs in fused.items():
                name = name.replace(ours, theirs)
            renamed[name] = tensor.clone()
            if name.endswith("linear_qkv.weight"):
                extra = name.replace("weight", "_extra_state")
                renamed[extra] = torch.zeros(3, dtype=torch.uint8)
        torch.save({**state, "model": renamed}, file)

        assert equal_weights(read_checkpoint(folder), gpt2)

    def test_a_layer_that_was_all_transformer_engines(
        self, tmp_path: Path, gpt2: Checkpoint
    ) -> None:
        """Named by hand as Hugging Face's convert_megatron_gpt2_checkpoint reads it."""
        theirs = (
            ("embedding.", "language_model.embedding."),
            ("decoder.", "language_model.encoder."),
            ("input_layernorm.", "self_attention.layernorm_qkv.layer_norm_"),
            ("linear_qkv.", "layernorm_qkv."),
            ("linear_proj.", "proj."),
            ("pre_mlp_layernorm.", "layernorm_mlp.layer_norm_"),
            ("mlp.linear_fc1.", "layernorm_mlp.fc1_"),
            ("mlp.linear_fc2.", "layernorm_mlp.fc2_"),
        )
        model = {}
        for name, tensor in gpt2.weights.items():
            for ours, other in theirs:
                name = name.replace(ours, other)
            model[name.removeprefix("language_model.")] = tensor
        whole = replace(gpt2, weights={"language_model": model})  # type: ignore[dict-item]
        args: dict[str, Any] = {
            "transformer_impl": "transformer_engine",
            "bias_gelu_fusion": False,
        }
        folder = save_torch(tmp_path, whole, **args)

        read = read_checkpoint(folder)

        assert equal_weights(read, gpt2)
        assert read.architecture.activation == "gelu_tanh"

    @pytest.mark.parametrize(
        "beside",
        [
            {"decoder.layers.0.mlp.linear_fc1._extra_state": {"scale": torch.ones(3)}},
            {"decoder.layers.1.self_attention.core_attention.softmax_offset": None},
            {"decoder.layers.1.self_attention.rotary_emb.inv_freq": torch.ones(4)},
            {"rotary_pos_emb.inv_freq": torch.ones(4)},
        ],
        ids=str,
    )
    def test_what_is_no_weight_is_passed_over(
        self, tmp_path: Path, gpt2: Checkpoint, beside: dict[str, Any]
    ) -> None:
        folder = save_torch(tmp_path, replace(gpt2, weights={**gpt2.weights, **beside}))

        assert equal_weights(read_checkpoint(folder), gpt2)

    def test_core_names_have_one_qkv_order(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        """Only nested names without a version are of version 0."""
        folder = save_torch(tmp_path, gpt2, drop="checkpoint_version")

        assert equal_weights(read_checkpoint(folder), gpt2)

    def test_a_distributed_optimizer_in_folders_of_its_own(
        self, tmp_path: Path, gpt2: Checkpoint
    ) -> None:
        """As of 2022: model_rng.pt, and optim.pt a data-parallel rank."""
        rank = save_torch(tmp_path, gpt2) / "mp_rank_00"
        (rank / "model_optim_rng.pt").rename(rank / "model_rng.pt")
        for number in range(2):
            (rank.parent / f"mp_rank_00_{number:03d}").mkdir()
            (rank.parent / f"mp_rank_00_{number:03d}" / "optim.pt").write_bytes(b"")

        assert equal_weights(read_checkpoint(tmp_path / "iter_0000001"), gpt2)


class TestArgs:
    @pytest.mark.parametrize(
        ("args", "field", "expected"),
        [
            ({"bias_gelu_fusion": True}, "activation", "gelu_tanh"),
            ({"bias_gelu_fusion": False}, "activation", "gelu"),
            ({"num_query_groups": 1}, "num_query_groups", 4),
            ({"norm_epsilon": None, "layernorm_epsilon": 1e-3}, "norm_epsilon", 1e-3),
            ({"kv_channels": None}, "kv_channels", 8),
            ({"ffn_hidden_size": None}, "ffn_hidden_size", None),
            ({"num_layers": None, "encoder_num_layers": 2}, "num_layers", 2),
            ({"activation_func": torch.nn.functional.gelu}, "activation", "gelu_tanh"),
            ({"rotary_base": None}, "rotary_base", 10000.0),
            ({"rotary_percent": None}, "rotary_percent", 1.0),
            ({"normalization": None}, "normalization", "LayerNorm"),
            ({"add_bias_linear": None}, "linear_bias", True),
            ({"padded_vocab_size": None}, "vocab_size", 128),
            (
                {"apply_layernorm_1p": None, "layernorm_zero_centered_gamma": True},
                "zero_centered_gamma",
                True,
            ),
        ],
        ids=lambda value: str(value),
    )
    def test_traps(
        self,
        tmp_path: Path,
        gpt2: Checkpoint,
        args: dict[str, Any],
        field: str,
        expected: Any,
    ) -> None:
        folder = save_torch(tmp_path, gpt2, **args)
        if expected is None:  # 4 * 32 by default, but the model has 64
            with pytest.raises(CheckpointError, match=r"shape \(128, 32\)"):
                read_checkpoint(folder)
            return

        assert getattr(read_checkpoint(folder).architecture, field) == expected

    @pytest.mark.parametrize(
        ("arg", "value"),
        [
            ("num_experts", 8),
            ("multi_latent_attention", True),
            ("is_hybrid_model", True),
            ("window_size", (128, 0)),
            ("softmax_type", "learnable"),
            ("attention_output_gate", True),
            ("use_rope_scaling", True),
            ("rotary_seq_len_interpolation_factor", 4),
            ("apply_residual_connection_post_layernorm", True),
            ("position_embedding_type", "yarn"),
            ("activation_func", "quick_gelu"),
            ("normalization", "L2Norm"),
        ],
    )
    def test_other_mathematics_is_refused(
        self, tmp_path: Path, gpt2: Checkpoint, arg: str, value: Any
    ) -> None:
        folder = save_torch(tmp_path, gpt2, **{arg: value})

        with pytest.raises(UnsupportedArchitecture) as refusal:
            read_checkpoint(folder)

        assert f"{arg}={value!r} is not supported" in str(refusal.value)
        assert "\n" not in str(refusal.value)

    def test_none_at_all(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        folder = save_torch(tmp_path, gpt2, drop="args")

        with pytest.raises(
            CheckpointError, match=r"num_attention_heads, bias_gelu.*no args"
        ):
            read_checkpoint(folder)
        assert equal_weights(read_checkpoint(folder, absent_args=gpt2.args), gpt2)

    def test_given_for_a_file_that_has_its_own(self) -> None:
        with pytest.raises(CheckpointError, match="Leave --architecture"):
            read_checkpoint(GOLDEN / "gpt2", absent_args={"num_layers": 2})

    def test_a_needed_one_is_missing(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        folder = save_torch(tmp_path, gpt2, hidden_size=None)

        with pytest.raises(CheckpointError, match="in the field hidden_size, found none"):
            read_checkpoint(folder)


class TestContradictions:
    def test_a_tensor_too_many(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        extra = {**gpt2.weights, "decoder.layers.0.mlp.router.weight": torch.ones(2)}
        folder = save_torch(tmp_path, replace(gpt2, weights=extra))

        with pytest.raises(CheckpointError, match=r"mlp\.router\.weight") as refusal:
            read_checkpoint(folder)
        assert refusal.value.tensor == "decoder.layers.0.mlp.router.weight"

    def test_a_tensor_too_few(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        name = "decoder.layers.1.mlp.linear_fc2.bias"
        fewer = {key: value for key, value in gpt2.weights.items() if key != name}
        folder = save_torch(tmp_path, replace(gpt2, weights=fewer))

        with pytest.raises(CheckpointError, match=r"fc2\.bias.*found no such tensor"):
            read_checkpoint(folder)

    def test_a_wrong_shape(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        name = "decoder.layers.1.mlp.linear_fc1.weight"
        cut = {**gpt2.weights, name: gpt2.weights[name][:32].clone()}
        folder = save_torch(tmp_path, replace(gpt2, weights=cut))

        with pytest.raises(CheckpointError) as refusal:
            read_checkpoint(folder)

        message = str(refusal.value)
        assert name in message
        assert "of shape (64, 32)" in message
        assert "found torch.float32 of shape (32, 32)" in message
        assert "tensor-parallel shard missing" in message

    @pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
    @pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
    def test_a_weight_that_is_no_number(
        self, tmp_path: Path, gpt2: Checkpoint, number: float, dtype: torch.dtype
    ) -> None:
        weights = {name: tensor.to(dtype) for name, tensor in gpt2.weights.items()}
        name = "decoder.layers.1.mlp.linear_fc1.weight"
        weights[name][3, 5] = number
        folder = save_torch(tmp_path, replace(gpt2, weights=weights))

        with pytest.raises(CheckpointError, match="1 of 2048 NaN or inf") as refusal:
            read_checkpoint(folder)
        assert refusal.value.tensor == name

    def test_a_tied_table_that_is_no_number(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        """A NaN is not equal to its own copy, yet the copy is not what is wrong."""
        table = gpt2.weights["embedding.word_embeddings.weight"].clone()
        table[0] = math.nan
        tied = {"embedding.word_embeddings.weight": table, "output_layer.weight": table}
        folder = save_torch(tmp_path, replace(gpt2, weights={**gpt2.weights, **tied}))

        with pytest.raises(CheckpointError, match=r"word_embeddings.*32 of 4096 NaN"):
            read_checkpoint(folder)

    def test_values_at_the_edge_are_good(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        """Their sum is infinite; they are not."""
        name = "decoder.layers.1.mlp.linear_fc1.weight"
        edge = torch.full((64, 32), 65504.0, dtype=torch.float16)
        folder = save_torch(tmp_path, replace(gpt2, weights={**gpt2.weights, name: edge}))

        assert torch.equal(read_checkpoint(folder).weights[name], edge)

    @pytest.mark.parametrize("dtype", [torch.int32, torch.float8_e4m3fn])
    def test_values_without_a_scale(
        self, tmp_path: Path, gpt2: Checkpoint, dtype: torch.dtype
    ) -> None:
        name = "decoder.layers.1.mlp.linear_fc1.weight"
        other = {**gpt2.weights, name: torch.ones(64, 32).to(dtype)}
        folder = save_torch(tmp_path, replace(gpt2, weights=other))

        with pytest.raises(CheckpointError, match=f"of 16 bits at least.*{dtype}"):
            read_checkpoint(folder)

    def test_a_vocabulary_of_half_the_rows(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        folder = save_torch(tmp_path, gpt2, padded_vocab_size=256)

        with pytest.raises(CheckpointError, match=r"word_embeddings.*\(256, 32\)"):
            read_checkpoint(folder)

    def test_a_tied_copy_that_differs(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        other = torch.zeros(128, 32)
        weights = {**gpt2.weights, "output_layer.weight": other}
        folder = save_torch(tmp_path, replace(gpt2, weights=weights))

        with pytest.raises(CheckpointError, match=r"output_layer\.weight.*tied"):
            read_checkpoint(folder)

    def test_an_encoder_and_a_decoder(self, tmp_path: Path, gpt2: Checkpoint) -> None:
        both = {
            name.replace("decoder.", stack): tensor
            for name, tensor in gpt2.weights.items()
            for stack in ("decoder.", "encoder.")
        }
        folder = save_torch(tmp_path, replace(gpt2, weights=both))

        with pytest.raises(UnsupportedArchitecture, match="an encoder and a decoder"):
            read_checkpoint(folder)
