"""Make the golden checkpoints: tiny models built, run and saved by megatron-core itself.

Run by hand, in an environment of its own, from the root of the repository::

    pip install torch==2.13.0 megatron-core==0.16.1 psutil
    TORCHDYNAMO_DISABLE=1 python tests/golden/make_checkpoints.py

megatron-core needs psutil without declaring it; without it the save waits for ever.
Dynamo is off because its fused kernels would need a C++ compiler.

For every name below it writes ``tests/golden/NAME/``: a checkpoint in Megatron's format,
``reference.npz`` with token ids and Megatron's float32 logits for them, and
``info.json`` with versions.  To see whether megatron-core reads what Megatick wrote::

    TORCHDYNAMO_DISABLE=1 python tests/golden/make_checkpoints.py --check NAME FOLDER

loads FOLDER's latest iteration into model NAME and compares its logits with the golden.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import shutil
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import torch
from megatron.core import (  # type: ignore[import-not-found]
    __version__,
    dist_checkpointing,
    parallel_state,
)
from megatron.core.activations import (  # type: ignore[import-not-found]
    squared_relu,
)
from megatron.core.enums import ModelType  # type: ignore[import-not-found]
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
from megatron.core.transformer.enums import (  # type: ignore[import-not-found]
    AttnBackend,
)
from megatron.core.transformer.transformer_config import (  # type: ignore[import-not-found]
    TransformerConfig,
)

ITERATION, ROWS, LENGTH, WINDOW, VOCABULARY = 7, 2, 16, 24, 128

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
    "squared_relu": False,
    "bias_gelu_fusion": True,
    "add_bias_linear": True,
    "add_qkv_bias": False,
    "qk_layernorm": False,
    "untie_embeddings_and_output_weights": False,
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
MODELS = {
    "gpt2": GPT2,
    "llama": LLAMA,
    "smollm2": SMOLLM2,
    "options": OPTIONS,
    "bert": GPT2,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", nargs=2, metavar=("NAME", "FOLDER"))
    check = parser.parse_args().check
    run_megatron_on_the_cpu()
    if check is not None:
        compare(check[0], Path(check[1]))
        return
    for name, args in MODELS.items():
        make(Path(__file__).parent / name, args)


def run_megatron_on_the_cpu() -> None:
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
    store = torch.distributed.HashStore()  # type: ignore[attr-defined]
    torch.distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    parallel_state.initialize_model_parallel()
    model_parallel_cuda_manual_seed(0)


def make(folder: Path, args: dict[str, Any]) -> None:
    model = build(folder.name, args)
    randomise(model)
    shutil.rmtree(folder, ignore_errors=True)
    iteration = folder / f"iter_{ITERATION:07d}"
    state = {
        "args": argparse.Namespace(
            **args,
            max_position_embeddings=WINDOW,
            padded_vocab_size=VOCABULARY,
            tensor_model_parallel_size=1,
            pipeline_model_parallel_size=1,
        ),
        "checkpoint_version": 3.0,
        "iteration": ITERATION,
    }
    if args["ckpt_format"] == "torch_dist":
        iteration.mkdir(parents=True)
        state["model"] = model.sharded_state_dict()
        with contextlib.chdir(folder):  # the path is saved; keep it relative
            dist_checkpointing.save(state, iteration.name)
    else:
        rank = iteration / "mp_rank_00"
        rank.mkdir(parents=True)
        state["model"] = model.state_dict_for_save_checkpoint()
        torch.save(state, rank / "model_optim_rng.pt")
    (folder / "latest_checkpointed_iteration.txt").write_text(str(ITERATION))
    np.savez_compressed(folder / "reference.npz", **run(model))
    info = {
        "command": "TORCHDYNAMO_DISABLE=1 python tests/golden/make_checkpoints.py",
        "megatron_core": __version__,
        "torch": torch.__version__,
        "python": sys.version.split()[0],
    }
    (folder / "info.json").write_text(json.dumps(info, indent=1) + "\n")


def build(name: str, args: dict[str, Any]) -> Any:
    gated = args["swiglu"]
    activation = torch.nn.functional.silu if gated else torch.nn.functional.gelu
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
        add_bias_linear=args["add_bias_linear"],
        add_qkv_bias=args["add_qkv_bias"],
        qk_layernorm=args["qk_layernorm"],
        rotary_interleaved=args["rotary_interleaved"],
        gated_linear_unit=gated,
        activation_func=squared_relu if args["squared_relu"] else activation,
        bias_activation_fusion=gated or args["bias_gelu_fusion"],
        hidden_dropout=0.0,
        attention_dropout=0.0,
        use_cpu_initialization=True,
    )
    common: dict[str, Any] = {
        "config": config,
        "vocab_size": VOCABULARY,
        "max_sequence_length": WINDOW,
        "share_embeddings_and_output_weights": not args[
            "untie_embeddings_and_output_weights"
        ],
    }
    if name == "bert":
        bert = BertModel(
            num_tokentypes=2, transformer_layer_spec=bert_layer_local_spec, **common
        )
        return bert.eval()
    spec = get_gpt_layer_local_spec(
        normalization=args["normalization"], qk_layernorm=args["qk_layernorm"]
    )
    gpt = GPTModel(
        transformer_layer_spec=spec,
        position_embedding_type=args["position_embedding_type"],
        rotary_base=args["rotary_base"],
        rotary_percent=args["rotary_percent"],
        **common,
    )
    return gpt.eval()


def randomise(model: Any) -> None:
    """Give values that no mistake survives: no zero bias, no unit norm, no two alike."""
    for name, parameter in model.named_parameters():
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        noise = torch.randn(parameter.shape, generator=generator)
        scale = 0.2 if parameter.dim() == 1 else parameter.shape[1] ** -0.5
        centre = 1.0 if "norm" in name and name.endswith("weight") else 0.0
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
            return {
                "input_ids": ids.numpy(),
                "attention_mask": keep.numpy(),
                "tokentype_ids": types.numpy(),
                "logits": logits.numpy(),
                "binary_logits": binary.numpy(),
            }
        hidden = torch.ones(1, 1, LENGTH, LENGTH).triu(1).bool()
        logits = model(ids, positions, hidden).contiguous()
    return {"input_ids": ids.numpy(), "logits": logits.numpy()}


def compare(name: str, folder: Path) -> None:
    """Let megatron-core load a checkpoint and hold its logits against the golden."""
    model = build(name, MODELS[name])
    latest = (folder / "latest_checkpointed_iteration.txt").read_text()
    iteration = folder / f"iter_{int(latest):07d}"
    loaded = dist_checkpointing.load({"model": model.sharded_state_dict()}, iteration)
    model.load_state_dict(loaded["model"])
    golden = np.load(Path(__file__).parent / name / "reference.npz")
    worst = np.abs(run(model)["logits"] - golden["logits"]).max()
    sys.stdout.write(f"{name}: largest difference in logits {worst:.1e}\n")
    sys.exit(int(worst > 1e-6))


if __name__ == "__main__":
    main()
