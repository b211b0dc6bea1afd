"""Make the golden checkpoints: tiny models built, run and saved by megatron-core itself.

Run by hand, in an environment of its own, from the root of the repository::

    pip install torch==2.13.0 megatron-core==0.16.1 psutil
    TORCHDYNAMO_DISABLE=1 python tests/golden/make_checkpoints.py [NAME ...]

megatron-core needs psutil without declaring it; without it the save waits for ever.
Dynamo is off because its fused kernels would need a C++ compiler.

For every name below, or those given, it writes ``tests/golden/NAME/``: a checkpoint in
Megatron's format, ``reference.npz`` with token ids and Megatron's float32 logits for them,
and ``info.json`` with versions.  Another release writes beside those of 0.16.1, into
``NAME_core0.14.0``: 0.14.0 runs in the same environment; 0.19.2 asks for Python 3.12 and
imports triton, which torch's CUDA build brings.  There are, of 0.19.2, and the first four
of 0.14.0 too::

    llama qwen_tp2_release bert bert_tp2_dist llama_tp2_per_layer nemotron_pp2_uneven
  A model is made and run in one process; where it is saved
by several, megatron-core reshards it, one process a rank.  To see whether megatron-core
reads what Megatick wrote::

    TORCHDYNAMO_DISABLE=1 python tests/golden/make_checkpoints.py --check NAME FOLDER

loads FOLDER's latest iteration into model NAME and compares its logits with the golden.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - its usual name
from megatron.core import (  # type: ignore[import-not-found]
    __version__,
    dist_checkpointing,
    parallel_state,
)
from megatron.core.activations import (  # type: ignore[import-not-found]
    squared_relu,
)
from megatron.core.enums import ModelType  # type: ignore[import-not-found]
from megatron.core.fusions import fused_layer_norm  # type: ignore[import-not-found]
from megatron.core.models.bert.bert_layer_specs import (  # type: ignore[import-not-found]
    bert_layer_local_spec,
)
from megatron.core.models.bert.bert_model import (  # type: ignore[import-not-found]
    BertModel,
)
from megatron.core.models.gpt import GPTModel  # type: ignore[import-not-found]
from megatron.core.models.gpt.gpt_layer_specs import (  # type: ignore[import-not-found]
    get_gpt_layer_local_spec,
)
from megatron.core.tensor_parallel.random import (  # type: ignore[import-not-found]
    model_parallel_cuda_manual_seed,
)
from megatron.core.transformer import (  # type: ignore[import-not-found]
    transformer_block,
)
from megatron.core.transformer.enums import (  # type: ignore[import-not-found]
    AttnBackend,
)
from megatron.core.transformer.transformer_config import (  # type: ignore[import-not-found]
    TransformerConfig,
)

ITERATION, ROWS, LENGTH, WINDOW, VOCABULARY = 7, 2, 16, 24, 128
USUAL_CORE = "0.16.1"
# Since 0.19 the training script takes these args in the spelling of the config.
RENAMED = {
    "norm_epsilon": "layernorm_epsilon",
    "apply_layernorm_1p": "layernorm_zero_centered_gamma",
}

# Megatron's own names and defaults, as far as they describe a model.
GPT2: dict[str, Any] = {
    "num_layers": 2,
    "hidden_size": 32,
    "ffn_hidden_size": 64,
    "num_attention_heads": 4,
    "kv_channels": 8,
    "group_query_attention": False,
    "num_query_groups": 1,
    "position_embedding_type": "learned_absolute",
    "rotary_base": 10000,
    "rotary_percent": 1.0,
    "rotary_interleaved": False,
    "normalization": "LayerNorm",
    "norm_epsilon": 1e-5,
    "swiglu": False,
    "gated_linear_unit": False,  # Megatron-core's config; the training script has no arg
    "squared_relu": False,
    "bias_gelu_fusion": True,
    "add_bias_linear": True,
    "add_qkv_bias": False,
    "qk_layernorm": False,
    "untie_embeddings_and_output_weights": False,
    "apply_layernorm_1p": False,
    "ckpt_format": "torch",
    "model_type": ModelType.encoder_or_decoder,
    "attention_backend": AttnBackend.auto,
}
LLAMA = GPT2 | {
    "ffn_hidden_size": 48,
    "group_query_attention": True,
    "num_query_groups": 2,
    "position_embedding_type": "rope",
    "rotary_base": 500000,
    "normalization": "RMSNorm",
    "norm_epsilon": 1e-6,
    "swiglu": True,
    "add_bias_linear": False,
    "untie_embeddings_and_output_weights": True,
    "ckpt_format": "torch_dist",
}
SMOLLM2 = LLAMA | {
    "hidden_size": 36,
    "num_attention_heads": 9,
    "num_query_groups": 3,
    "kv_channels": 4,
    "rotary_base": 100000,
    "norm_epsilon": 1e-5,
    "untie_embeddings_and_output_weights": False,
}
# Every option that the others leave alone.
OPTIONS = LLAMA | {
    "ffn_hidden_size": 32,
    "kv_channels": 12,
    "rotary_percent": 0.5,
    "rotary_interleaved": True,
    "normalization": "LayerNorm",
    "swiglu": False,
    "squared_relu": True,
    "bias_gelu_fusion": False,
    "add_qkv_bias": True,
    "qk_layernorm": True,
}
# GEGLU without a fused kernel, that is with the exact GELU, and a quarter of each head
# rotated; rotary positions need no table.
GEGLU = LLAMA | {
    "swiglu": False,
    "gated_linear_unit": True,
    "bias_gelu_fusion": False,
    "rotary_percent": 0.25,
}
# GEGLU by the fused kernel, that is with tanh; multi-query attention; no positions.
GEGLU_TANH = GPT2 | {
    "ffn_hidden_size": 48,
    "group_query_attention": True,
    "position_embedding_type": "none",
    "gated_linear_unit": True,
}
QWEN = LLAMA | {
    "add_qkv_bias": True,
    "qk_layernorm": True,
    "untie_embeddings_and_output_weights": False,
    "ckpt_format": "torch",
}
NEMOTRON = LLAMA | {
    "num_layers": 3,
    "rotary_percent": 0.5,
    "normalization": "LayerNorm",
    "swiglu": False,
    "squared_relu": True,
    "apply_layernorm_1p": True,
    "ckpt_format": "torch",
    "decoder_first_pipeline_num_layers": 1,
}
# The embedding counts as a layer of the first stage, which so has one layer less.
EMBEDDING_COUNTS = GPT2 | {
    "num_layers": 3,
    "account_for_embedding_in_pipeline_split": True,
}


@dataclass(frozen=True)
class Golden:
    """A model, and how it is saved.

    Attributes:
        args: what is saved as the run's args.
        bert: a BERT rather than a GPT.
        binary_head: BERT's next-sentence head, and with it the pooler.
        classes: rows of a classification head put beside BERT by hand, in the place
            where tasks/finetune saves it: megatron-core has none.
        ranks: tensor-parallel ranks, pipeline stages, runs of layers on each stage.
        per_layer: ``torch_dist`` with a key a layer (``singleton_local_shards``).
        dtype: of the saved weights.
        release: the tracker says ``release``.
        legacy: the ``checkpoint_version`` of an old tree, whose nested names and order of
            QKV rows are put on by hand; files of version 0 do not say it.
    """

    args: dict[str, Any]
    bert: bool = False
    binary_head: bool = True
    classes: int = 0
    ranks: tuple[int, int, int] = (1, 1, 1)
    per_layer: bool = False
    dtype: torch.dtype = torch.float32
    release: bool = False
    legacy: float | None = None

    @property
    def folder(self) -> str:
        return "release" if self.release else f"iter_{ITERATION:07d}"


GOLDENS = {
    "gpt2": Golden(GPT2),
    "llama": Golden(LLAMA),
    "smollm2": Golden(SMOLLM2),
    "options": Golden(OPTIONS),
    "bert": Golden(GPT2, bert=True),
    "gpt2_exact_tp2": Golden(
        GPT2 | {"bias_gelu_fusion": False, "vocab_size": 100}, ranks=(2, 1, 1)
    ),
    "gpt2_pp2_bf16": Golden(EMBEDDING_COUNTS, ranks=(1, 2, 1), dtype=torch.bfloat16),
    "gpt2_tp2_pp2_dist": Golden(GPT2 | {"ckpt_format": "torch_dist"}, ranks=(2, 2, 1)),
    "llama_tp2_pp2_vpp2": Golden(
        LLAMA | {"num_layers": 4, "ckpt_format": "torch"}, ranks=(2, 2, 2)
    ),
    "llama_tp2_per_layer": Golden(LLAMA, ranks=(2, 1, 1), per_layer=True),
    "qwen_tp2_release": Golden(QWEN, ranks=(2, 1, 1), release=True),
    "nemotron_pp2_uneven": Golden(NEMOTRON, ranks=(1, 2, 1)),
    "geglu_tp2_dist": Golden(GEGLU, ranks=(2, 1, 1)),
    "geglu_tanh_nope": Golden(GEGLU_TANH),
    "bert_tp2_dist": Golden(
        GPT2 | {"ckpt_format": "torch_dist"}, bert=True, ranks=(2, 1, 1)
    ),
    "bert_pp2_no_pooler": Golden(GPT2, bert=True, binary_head=False, ranks=(1, 2, 1)),
    "bert_classes": Golden(GPT2, bert=True, classes=3),
    "gpt2_v0": Golden(GPT2, legacy=0.0),
    "gpt2_v1_tp2": Golden(GPT2, ranks=(2, 1, 1), legacy=1.0),
    "gpt2_v2_tp2": Golden(GPT2, ranks=(2, 1, 1), legacy=2.0),
    "gpt2_v3": Golden(GPT2, legacy=3.0),
    "bert_v0": Golden(GPT2, bert=True, legacy=0.0),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--check", nargs=2, metavar=("NAME", "FOLDER"))
    given = parser.parse_args()
    if given.check is not None:
        with tempfile.TemporaryDirectory() as scratch:
            start(scratch, 0, (1, 1, 1))
            compare(given.check[0], Path(given.check[1]))
        return
    for name in given.names or GOLDENS:
        golden = GOLDENS[name]
        shutil.rmtree(folder_of(name), ignore_errors=True)
        with tempfile.TemporaryDirectory() as scratch:
            launch(make_whole, 1, name, scratch)
            tensor, stages, _ = golden.ranks
            launch(save_rank, tensor * stages, name, scratch)


def folder_of(name: str) -> Path:
    """Keep what the releases of megatron-core write apart."""
    suffix = "" if __version__ == USUAL_CORE else f"_core{__version__}"
    return Path(__file__).parent / f"{name}{suffix}"


def launch(work: Any, processes: int, *arguments: Any) -> None:
    spawn: Any = torch.multiprocessing.start_processes  # type: ignore[attr-defined]
    context = spawn(work, arguments, processes, join=False, start_method="spawn")
    while not context.join():
        pass


def start(scratch: str, rank: int, ranks: tuple[int, int, int]) -> None:
    """Answer the few questions that megatron-core asks a GPU, and start its groups."""
    answers = {
        "current_device": lambda: torch.device("cpu"),
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "manual_seed": lambda seed: None,
        "synchronize": lambda device=None: None,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
        setattr(torch.cuda.random, name, answer)
    # The stages add up a tied embedding "on the GPU".
    torch.Tensor.cuda = lambda self, *_, **__: self  # type: ignore[method-assign]
    torch.set_num_threads(1)
    tensor, stages, runs = ranks
    store = f"file://{scratch}/store{tensor * stages}"
    torch.distributed.init_process_group(
        "gloo", init_method=store, rank=rank, world_size=tensor * stages
    )
    parallel_state.initialize_model_parallel(tensor, stages, runs if runs > 1 else None)
    model_parallel_cuda_manual_seed(0)


def make_whole(rank: int, name: str, scratch: str) -> None:
    """Make a model in one process, keep it in the scratch folder, and run it."""
    golden = GOLDENS[name]
    whole = Golden(**{**vars(golden), "ranks": (1, 1, 1)})
    start(scratch, rank, whole.ranks)
    (model,) = build(whole)
    randomise(model, zero_centred=golden.args["apply_layernorm_1p"])
    for parameter in model.parameters():  # the arithmetic is float32, the weights rounded
        parameter.data = parameter.data.to(golden.dtype).float()
    folder = folder_of(name)
    folder.mkdir()
    (Path(scratch) / "whole").mkdir()
    dist_checkpointing.save(model.sharded_state_dict(), f"{scratch}/whole")
    arrays = run(model)
    if golden.classes:
        arrays |= classification_head(golden)
    np.savez_compressed(folder / "reference.npz", **arrays)
    info = {
        "command": f"TORCHDYNAMO_DISABLE=1 python tests/golden/make_checkpoints.py {name}",
        "megatron_core": __version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }
    if golden.classes:
        info["by_hand"] = "classification_head.weight and .bias, beside the model"
    if golden.legacy is not None:
        info["by_hand"] = f"names and QKV rows of checkpoint_version {golden.legacy}"
    (folder / "info.json").write_text(json.dumps(info, indent=1) + "\n")


def save_rank(rank: int, name: str, scratch: str) -> None:
    """Load this rank's part of the model and save it."""
    golden = GOLDENS[name]
    start(scratch, rank, golden.ranks)
    chunks = build(golden)
    keys = ["model"] if len(chunks) == 1 else [f"model{i}" for i in range(len(chunks))]
    parts = {key: part.sharded_state_dict() for key, part in zip(keys, chunks, strict=True)}
    parts = dist_checkpointing.load(parts, f"{scratch}/whole")
    for key, part in zip(keys, chunks, strict=True):
        part.load_state_dict(parts[key])
        part.to(golden.dtype)
    tensor, stages, runs = golden.ranks
    state: dict[str, Any] = {
        "args": argparse.Namespace(
            **spelled(golden.args),
            max_position_embeddings=WINDOW,
            padded_vocab_size=VOCABULARY,
            tensor_model_parallel_size=tensor,
            pipeline_model_parallel_size=stages,
            virtual_pipeline_model_parallel_size=runs if runs > 1 else None,
        ),
        "checkpoint_version": 3.0,
        "iteration": ITERATION,
    }
    folder = folder_of(name)
    iteration = folder / golden.folder
    if golden.args["ckpt_format"] == "torch_dist":
        group = parallel_state.get_data_parallel_group(with_context_parallel=True)
        apart = {"singleton_local_shards": True, "dp_cp_group": group}
        metadata = {"metadata": apart} if golden.per_layer else {}
        for key, part in zip(keys, chunks, strict=True):
            state[key] = part.sharded_state_dict(**metadata)
        iteration.mkdir(exist_ok=True)
        with contextlib.chdir(folder):  # the path is saved; keep it relative
            dist_checkpointing.save(state, iteration.name)
    else:
        for key, part in zip(keys, chunks, strict=True):
            state[key] = part.state_dict_for_save_checkpoint()
        if golden.classes:
            state["model"] |= {
                key: torch.from_numpy(array)
                for key, array in classification_head(golden).items()
                if key.startswith("classification_head.")
            }
        if golden.legacy is not None:
            state["model"] = as_before_core(state["model"], golden)
            state["checkpoint_version"] = golden.legacy
            if golden.legacy < 2:
                args = vars(state["args"])
                args["model_parallel_size"] = args.pop("tensor_model_parallel_size")
            if not golden.legacy:
                del state["checkpoint_version"]
        place = f"mp_rank_{parallel_state.get_tensor_model_parallel_rank():02d}"
        if stages > 1:
            place += f"_{parallel_state.get_pipeline_model_parallel_rank():03d}"
        (iteration / place).mkdir(parents=True)
        torch.save(state, iteration / place / "model_optim_rng.pt")
    tracker = "release" if golden.release else str(ITERATION)
    (folder / "latest_checkpointed_iteration.txt").write_text(tracker)


def as_before_core(model: dict[str, Any], golden: Golden) -> dict[str, Any]:
    """Nest and name a rank's tensors as before megatron-core, QKV rows in their old order.

    Source: fix_query_key_value_ordering in Megatron-LM's checkpointing.py, and the
    ``state_dict_for_save_checkpoint`` of its language_model.py, v1.0 to v2.5.
    """
    version = golden.legacy or 0.0
    attention = "self_attention" if version >= 3 else "attention"
    renamed = (
        ("self_attention.linear_qkv", f"{attention}.query_key_value"),
        ("self_attention.linear_proj", f"{attention}.dense"),
        ("pre_mlp_layernorm", "post_attention_layernorm"),
        ("linear_fc1", "dense_h_to_4h"),
        ("linear_fc2", "dense_4h_to_h"),
        ("lm_head.layer_norm", "lm_head.layernorm"),
        ("output_layer.bias", "lm_head.bias"),
    )
    tree: dict[str, Any] = {}
    for name, tensor in model.items():
        if tensor is None:  # an _extra_state
            continue
        if "linear_qkv" in name:  # rows are [heads, (q, k, v), channels] since 2.0
            rows = tensor.unflatten(0, (-1, 3, golden.args["kv_channels"]))
            if version < 1:
                rows = rows.transpose(0, 1)  # [(q, k, v), heads, channels]
            elif version < 2:
                rows = rows.transpose(1, 2)  # [heads, channels, (q, k, v)]
            tensor = rows.flatten(0, 2).contiguous()
        for ours, theirs in renamed:
            name = name.replace(ours, theirs)
        part, rest = name.split(".", 1)
        if part == "decoder":
            layers = "encoder" if version >= 3 else "transformer"
            tree.setdefault("language_model", {}).setdefault(layers, {})[rest] = tensor
        elif part == "embedding":
            table, leaf = rest.split(".")
            tables = tree.setdefault("language_model", {}).setdefault("embedding", {})
            tables[table] = {leaf: tensor}
        elif part == "pooler":
            tree["language_model"].setdefault("pooler", {})[rest] = tensor
        else:
            tree.setdefault(part, {})[rest] = tensor
    return tree


def spelled(args: dict[str, Any]) -> dict[str, Any]:
    """Spell args as this release's training script does."""
    if tuple(map(int, __version__.split(".")[:2])) < (0, 19):
        return args
    return {RENAMED.get(name, name): value for name, value in args.items()}


def build(golden: Golden) -> list[Any]:
    """Build this rank's runs of layers."""
    args = golden.args
    tensor, stages, runs = golden.ranks
    activation = F.silu if args["swiglu"] else F.gelu
    config = TransformerConfig(
        num_layers=args["num_layers"],
        hidden_size=args["hidden_size"],
        ffn_hidden_size=args["ffn_hidden_size"],
        num_attention_heads=args["num_attention_heads"],
        num_query_groups=(
            args["num_query_groups"] if args["group_query_attention"] else None
        ),
        kv_channels=args["kv_channels"],
        normalization=args["normalization"],
        layernorm_epsilon=args["norm_epsilon"],
        layernorm_zero_centered_gamma=args["apply_layernorm_1p"],
        add_bias_linear=args["add_bias_linear"],
        add_qkv_bias=args["add_qkv_bias"],
        qk_layernorm=args["qk_layernorm"],
        rotary_interleaved=args["rotary_interleaved"],
        gated_linear_unit=args["swiglu"] or args["gated_linear_unit"],
        activation_func=squared_relu if args["squared_relu"] else activation,
        bias_activation_fusion=(
            args["swiglu"] or (args["bias_gelu_fusion"] and not args["squared_relu"])
        ),
        hidden_dropout=0.0,
        attention_dropout=0.0,
        use_cpu_initialization=True,
        tensor_model_parallel_size=tensor,
        pipeline_model_parallel_size=stages,
        virtual_pipeline_model_parallel_size=runs if runs > 1 else None,
        pipeline_dtype=torch.float32,
        num_layers_in_first_pipeline_stage=(
            args.get("decoder_first_pipeline_num_layers") if stages > 1 else None
        ),
        account_for_embedding_in_pipeline_split=(
            stages > 1 and args.get("account_for_embedding_in_pipeline_split", False)
        ),
    )
    return [chunk(golden, config, run if runs > 1 else None) for run in range(runs)]


def chunk(golden: Golden, config: Any, virtual: int | None) -> Any:
    args = golden.args
    at = {} if virtual is None else {"ignore_virtual": False, "vp_stage": virtual}
    common: dict[str, Any] = {
        "config": config,
        "vocab_size": VOCABULARY,
        "max_sequence_length": WINDOW,
        "share_embeddings_and_output_weights": not args[
            "untie_embeddings_and_output_weights"
        ],
        "pre_process": parallel_state.is_pipeline_first_stage(**at),
        "post_process": parallel_state.is_pipeline_last_stage(**at),
        "vp_stage": virtual,
    }
    if golden.bert:
        bert = BertModel(
            num_tokentypes=2,
            transformer_layer_spec=bert_layer_local_spec,
            add_binary_head=golden.binary_head,
            **common,
        )
        return bert.eval()
    spec = get_gpt_layer_local_spec(
        normalization=args["normalization"], qk_layernorm=args["qk_layernorm"]
    )
    if args["apply_layernorm_1p"]:
        stand_in_for_apex(spec)
    gpt = GPTModel(
        transformer_layer_spec=spec,
        position_embedding_type=args["position_embedding_type"],
        rotary_base=args["rotary_base"],
        rotary_percent=args["rotary_percent"],
        **common,
    )
    return gpt.eval()


def stand_in_for_apex(spec: Any) -> None:
    """Give megatron-core's FusedLayerNorm the one kernel that it takes from apex.

    Only that class has a zero-centred gamma; the kernel itself is a plain layer norm.
    """

    class Kernel:
        @staticmethod
        def apply(x: Any, weight: Any, bias: Any, shape: Any, eps: float, *_: Any) -> Any:
            return F.layer_norm(x, tuple(shape), weight, bias, eps)

        @staticmethod
        def forward(
            ctx: Any, x: Any, weight: Any, bias: Any, shape: Any, eps: float
        ) -> Any:
            """Have the signature that megatron-core looks at."""

    fused_layer_norm.FusedLayerNormAffineFunction = Kernel
    fused_layer_norm.HAVE_FUSED_LAYER_NORM = True
    norm = fused_layer_norm.FusedLayerNorm
    spec.submodules.input_layernorm = spec.submodules.pre_mlp_layernorm = norm
    transformer_block.LayerNormImpl = norm


def classification_head(golden: Golden) -> dict[str, Any]:
    generator = torch.Generator().manual_seed(1)
    shape = (golden.classes, golden.args["hidden_size"])
    weight = torch.randn(shape, generator=generator)
    bias = torch.randn(golden.classes, generator=generator)
    return {
        "classification_head.weight": weight.numpy(),
        "classification_head.bias": bias.numpy(),
    }


def randomise(model: Any, *, zero_centred: bool) -> None:
    """Give values that no mistake survives: no zero bias, no unit norm, no two alike."""
    for name, parameter in model.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 0.2 if parameter.dim() == 1 else parameter.shape[1] ** -0.5
        scaled = "norm" in name and name.endswith("weight") and not zero_centred
        centre = 1.0 if scaled else 0.0
        parameter.data.copy_(noise * scale + centre)


def run(model: Any) -> dict[str, Any]:
    """Compute Megatron's logits on seeded tokens."""
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, VOCABULARY, (ROWS, LENGTH), generator=generator)
    positions = torch.arange(LENGTH).expand(ROWS, LENGTH)
    with torch.no_grad():
        if isinstance(model, BertModel):
            keep = torch.ones_like(ids)
            keep[1, LENGTH - 5 :] = 0
            types = (positions >= LENGTH // 2).long()
            logits, binary = model(ids, keep, tokentype_ids=types)
            arrays = {
                "input_ids": ids.numpy(),
                "attention_mask": keep.numpy(),
                "tokentype_ids": types.numpy(),
                "logits": logits.numpy(),
            }
            if binary is not None:
                arrays["binary_logits"] = binary.numpy()
            return arrays
        hidden = torch.ones(1, 1, LENGTH, LENGTH).triu(1).bool()
        logits = model(ids, positions, hidden).contiguous()
    return {"input_ids": ids.numpy(), "logits": logits.numpy()}


def compare(name: str, folder: Path) -> None:
    """Let megatron-core load a checkpoint and hold its logits against the golden."""
    (model,) = build(GOLDENS[name])
    latest = (folder / "latest_checkpointed_iteration.txt").read_text()
    iteration = folder / f"iter_{int(latest):07d}"
    loaded = dist_checkpointing.load({"model": model.sharded_state_dict()}, iteration)
    model.load_state_dict(loaded["model"])
    golden = np.load(folder_of(name) / "reference.npz")
    worst = np.abs(run(model)["logits"] - golden["logits"]).max()
    sys.stdout.write(f"{name}: largest difference in logits {worst:.1e}\n")
    sys.exit(int(worst > 1e-6))


if __name__ == "__main__":
    main()
