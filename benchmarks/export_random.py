"""What it takes to export a GPT-2 of random weights: time, memory, sizes.

    python benchmarks/export_random.py build/345m --precision fp8 [--out figures.json]
    python benchmarks/export_random.py build/8m --shape 8m --target cpu --precision fp32

writes a checkpoint of random weights as Megatron-LM of 2021 did (nested names, version
3.0, two tensor-parallel ranks, FP16), exports it as ``megatick export --target tensorrt``
does, and compiles the graph for GPUs that need not be there.  With ``--target cpu`` it
leaves a repository that the other benchmarks can serve; ``--tokenizer`` then gives their
texts the lengths of a real vocabulary, cut to its first ids where the shape has fewer.
The checkpoint is kept for the next precision.
Every step is a process of its own; peak memory is its largest resident set (VmHWM:
anonymous memory and mapped pages of files alike).  Linux.

Random weights have classes so close together that rounding decides many labels.  What is
measured here is cost, and the full model in the asked precision, so the budgets let every
flip pass; the flips are reported.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeVar

import torch
import typer
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from megatick_export import Architecture, ExportOptions, export_repository
from megatick_export.checkpoint.arguments import arguments_of
from megatick_export.engine import CompileCheck, check_repository
from megatick_export.headlines import headlines
from megatick_export.receipt import machine, versions

GPT2_345M: Final = Architecture(
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
    classes=3,
)
SHAPES: Final = {
    "345m": GPT2_345M,
    "8m": replace(
        GPT2_345M,
        num_layers=6,
        hidden_size=256,
        num_attention_heads=4,
        num_query_groups=4,
        ffn_hidden_size=1024,
        vocab_size=12288,
    ),
}
RANKS: Final = 2

# Canonical name -> the one in files of version 3.0, inside ``decoder.layers.``.
_LEGACY: Final = {
    "linear_qkv": "query_key_value",
    "linear_proj": "dense",
    "linear_fc1": "dense_h_to_4h",
    "linear_fc2": "dense_4h_to_h",
    "pre_mlp_layernorm": "post_attention_layernorm",
}
# The axis that tensor parallelism cuts, by the module and the tensor's own name.
_CUT: Final = {
    "word_embeddings.weight": 0,
    "linear_qkv.weight": 0,
    "linear_qkv.bias": 0,
    "linear_fc1.weight": 0,
    "linear_fc1.bias": 0,
    "linear_proj.weight": 1,
    "linear_fc2.weight": 1,
}

Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Stage:
    """A stage of the export.

    Attributes:
        name: as the export tells it.
        seconds: it took.
        peak_bytes: largest resident set of the process, up to its end.
    """

    name: str
    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Exported:
    """What an export took, and gave.

    Attributes:
        stages: in their order.
        trial: figures of the precision, from the receipt.
        layer_errors: relative error of the residual stream after each layer.
        files: sizes in bytes, by path in the repository, of those beyond 1 MB.
    """

    stages: tuple[Stage, ...]
    trial: Mapping[str, Any]
    layer_errors: tuple[float, ...] | None
    files: Mapping[str, int]


def write_legacy_checkpoint(folder: Path, architecture: Architecture) -> None:
    """Write random weights as two tensor-parallel ranks, FP16, and a byte tokenizer.

    Weights are drawn as GPT-2's: normal of 0.02, those that write into the residual stream
    divided by the square root of their number, 2 a layer; biases 0, norms 1.

    Source: Radford et al. 2019, Language Models are Unsupervised Multitask Learners, 2.3.
    """
    generator = torch.Generator().manual_seed(0)
    residual = 0.02 / math.sqrt(2 * architecture.num_layers)
    ranks: list[dict[str, Any]] = [{} for _ in range(RANKS)]
    for name, shape in architecture.shapes().items():
        module, kind = name.split(".")[-2:]
        if kind == "bias":
            tensor = torch.zeros(shape)
        elif "norm" in module:
            tensor = torch.ones(shape)
        else:
            std = residual if module in ("linear_proj", "linear_fc2") else 0.02
            tensor = torch.normal(0.0, std, shape, generator=generator)
        whole, axis = tensor.half(), _CUT.get(f"{module}.{kind}")
        shards = [whole] * RANKS if axis is None else whole.chunk(RANKS, axis)
        for rank, shard in zip(ranks, shards, strict=True):
            _put(rank, name, shard.clone())
    args = arguments_of(architecture, torch.float16, path=folder)
    args |= {"tensor_model_parallel_size": RANKS, "ckpt_format": "torch"}
    for number, rank in enumerate(ranks):
        place = folder / "iter_0000001" / f"mp_rank_{number:02d}"
        place.mkdir(parents=True)
        state = {"args": argparse.Namespace(**args), "model": rank}
        state |= {"checkpoint_version": 3.0, "iteration": 1}
        torch.save(state, place / "model_optim_rng.pt")
    _byte_tokenizer().save(str(folder / "iter_0000001" / "tokenizer.json"))
    (folder / "latest_checkpointed_iteration.txt").write_text("1")


def _put(model: dict[str, Any], name: str, tensor: torch.Tensor) -> None:
    """Put a tensor where the nested tree of version 3.0 has it."""
    language_model = model.setdefault("language_model", {})
    if name.startswith("decoder."):
        rest = name.removeprefix("decoder.")
        for ours, theirs in _LEGACY.items():
            rest = rest.replace(f".{ours}.", f".{theirs}.")
        language_model.setdefault("encoder", {})[rest] = tensor
        return
    *parents, leaf = name.split(".")
    place = model if parents == ["classification_head"] else language_model
    for parent in parents:
        place = place.setdefault(parent, {})
    place[leaf] = tensor


def _byte_tokenizer() -> Tokenizer:
    """One token a byte: nothing here depends on the words."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE({c: i for i, c in enumerate(alphabet)}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def shortened(tokenizer: str, ids: int) -> str:
    """Keep the first ids of a byte-pair tokenizer, and so its commonest pieces.

    Args:
        tokenizer: JSON of ``tokenizers``; merges are numbered in the order of learning.
        ids: to keep.

    Returns:
        The same, without the tokens that it added around a text.

    Raises:
        typer.BadParameter: it is no byte-pair tokenizer.
    """
    whole: dict[str, Any] = json.loads(tokenizer)
    model = whole["model"]
    if model["type"] != "BPE":
        raise typer.BadParameter(
            f"only a BPE tokenizer can be cut to {ids} ids, found {model['type']}: give "
            "none, for one token a byte"
        )
    vocabulary = {piece: number for piece, number in model["vocab"].items() if number < ids}
    merges = [
        (left, right)
        for left, right in model["merges"]
        if {left, right, left + right} <= vocabulary.keys()
    ]
    whole["model"] = model | {"vocab": vocabulary, "merges": merges}
    whole["added_tokens"] = [each for each in whole["added_tokens"] if each["id"] < ids]
    whole["post_processor"] = None
    return json.dumps(whole)


def export(checkpoint: Path, repository: Path, options: ExportOptions) -> Exported:
    """Export in this process, which must have done nothing before."""
    stages: list[Stage] = []
    begun = ("importing", time.perf_counter())

    def progress(name: str) -> None:
        nonlocal begun
        now = time.perf_counter()
        stages.append(Stage(begun[0], now - begun[1], peak_bytes()))
        begun = (name, now)

    receipt = export_repository(checkpoint, repository, options=options, progress=progress)
    progress("")
    (trial,) = receipt.trials
    sizes = {
        str(file.relative_to(repository)): file.stat().st_size
        for file in sorted(repository.rglob("*"))
        if file.is_file() and file.stat().st_size > 1_000_000
    }
    return Exported(tuple(stages), asdict(trial), receipt.layer_errors, sizes)


def compile_for(repository: Path, target: str) -> tuple[CompileCheck, int]:
    """Compile in this process; returns the report and the peak memory in bytes."""
    (check,) = check_repository(repository, [target])
    return check, peak_bytes()


def peak_bytes() -> int:
    """Read the largest resident set that this process ever had."""
    status = Path("/proc/self/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return 1024 * int(line.split()[1])


def main(
    folder: Annotated[
        Path, typer.Argument(help="For the checkpoint, the texts and the repositories.")
    ],
    shape: Annotated[Literal["345m", "8m"], typer.Option(help="Of the network.")] = "345m",
    precision: Annotated[
        Literal["fp32", "bf16", "int8", "fp16", "fp8"], typer.Option()
    ] = "fp16",
    target: Annotated[Literal["tensorrt", "cpu"], typer.Option()] = "tensorrt",
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="A tokenizer.json.", show_default="bytes"),
    ] = None,
    fp8_attention: Annotated[bool, typer.Option("--fp8-attention")] = False,
    layers: Annotated[
        int | None,
        typer.Option(
            min=1, help="Fewer for a quick look.", show_default="all of the shape"
        ),
    ] = None,
    texts: Annotated[int, typer.Option(min=1, help="To calibrate and measure on.")] = 64,
    compile_for_gpus: Annotated[
        str, typer.Option("--targets", help="GPUs to compile for; nothing for a CPU.")
    ] = "SM89,SM120",
    out: Annotated[Path | None, typer.Option(help="JSON file to write as well.")] = None,
) -> None:
    """Write the checkpoint, export it, compile the graph, and print what each took."""
    console = Console()
    architecture = SHAPES[shape]
    if layers is not None:
        architecture = replace(architecture, num_layers=layers)
    size = f"{architecture.num_layers}x{architecture.hidden_size}"
    checkpoint = folder / f"checkpoint_{size}"
    repository = folder / f"repository_{size}_{precision}"
    if repository.exists():
        raise typer.BadParameter(f"{repository} exists: delete it first, or give another")
    if not checkpoint.exists():
        _alone(write_legacy_checkpoint, checkpoint, architecture)
    if tokenizer is not None:
        whole = Tokenizer.from_file(str(tokenizer))
        if whole.get_vocab_size() > architecture.vocab_size:
            tokenizer = folder / "tokenizer.json"
            tokenizer.write_text(shortened(whole.to_str(), architecture.vocab_size))
    calibration = folder / "texts.txt"
    calibration.write_text("\n".join(headlines(texts)) + "\n", encoding="utf-8")
    options = ExportOptions(
        target=target,
        tokenizer=tokenizer,
        precision=precision,
        fp8_attention=fp8_attention,
        calibration=calibration,
        flip_budget=1.0,
        score_budget=2.0,
    )
    exported = _alone(export, checkpoint, repository, options)
    console.print(_stages(exported, title=f"{size}, {precision}, {machine()}"))
    compiled = []
    if target == "tensorrt":
        compiled = [
            _alone(compile_for, repository, gpu)
            for gpu in compile_for_gpus.upper().split(",")
        ]
        console.print(_checks(compiled))
    if out is not None:
        document = {
            "date": datetime.now(UTC).date().isoformat(),
            "machine": machine(),
            "versions": versions(),
            "layers": architecture.num_layers,
            "parameters": sum(map(math.prod, architecture.shapes().values())),
            "checkpoint_bytes": sum(
                file.stat().st_size for file in checkpoint.rglob("*.pt")
            ),
            "texts": texts,
            "export": asdict(exported),
            "compiled": [
                {**asdict(check), "precisions": check.layers.precisions, "peak_bytes": peak}
                for check, peak in compiled
            ],
        }
        out.write_text(json.dumps(document, indent=2) + "\n")


def _alone(step: Callable[..., Answer], *given: object) -> Answer:
    """Run a step in a process of its own, so that its peak memory is its own."""
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=fresh) as pool:
        return pool.submit(step, *given).result()


def _stages(exported: Exported, *, title: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column("stage")
    for column in ("seconds", "peak GB"):
        table.add_column(column, justify="right")
    for stage in exported.stages:
        table.add_row(stage.name, f"{stage.seconds:.1f}", f"{stage.peak_bytes / 1e9:.2f}")
    total = sum(stage.seconds for stage in exported.stages)
    table.add_section()
    table.add_row("in all", f"{total:.1f}", f"{exported.stages[-1].peak_bytes / 1e9:.2f}")
    for name, size in exported.files.items():
        table.add_row(name, "", f"{size / 1e9:.3f} on disk")
    return table


def _checks(compiled: list[tuple[CompileCheck, int]]) -> Table:
    table = Table(title="Compiled with TensorRT-RTX", title_justify="left")
    columns = ("GPU", "layers", "fused attention", "linear layers", "seconds", "plan GB")
    for column in (*columns, "peak GB"):
        table.add_column(column)
    for check, peak in compiled:
        layers = check.layers
        counts = layers.precisions.items()
        table.add_row(
            check.target,
            str(layers.layers),
            f"{layers.fused_attentions} of {layers.attentions}",
            ", ".join(f"{count} {precision}" for precision, count in counts),
            f"{check.seconds:.1f}",
            f"{check.plan_bytes / 1e9:.3f}",
            f"{peak / 1e9:.2f}",
        )
    return table


if __name__ == "__main__":
    typer.run(main)
