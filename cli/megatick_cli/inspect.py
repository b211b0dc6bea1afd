"""``megatick inspect``: what a checkpoint is, before minutes are spent on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from megatick_cli.reading import ArchitectureFile, read_with_bar

if TYPE_CHECKING:
    from megatick_export import Checkpoint


def inspect(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Megatron checkpoint: the tracker file's folder, or one iteration's."
        ),
    ],
    architecture: ArchitectureFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a checkpoint's layout, architecture, size, head and tokenizer.

    Exit status: 0 read; 1 it cannot be read, or is not supported (one message on stderr
    says why); 2 bad usage.
    """
    facts = _facts(read_with_bar(checkpoint, architecture))
    if as_json:
        print(json.dumps(facts, indent=2))  # noqa: T201 rich would wrap it
        return
    table = Table(title=str(checkpoint), title_justify="left", show_header=False, box=None)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name in ("tensor_parallel", "pipeline_parallel", "virtual_stages", "dtypes"):
        del facts[name]  # said in one line by others
    fields = facts.pop("architecture")
    for name, value in {**facts, **fields}.items():
        table.add_row(name.replace("_", " "), _shown(value))
    Console().print(table)


def _shown(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    architecture = checkpoint.architecture
    main = str(checkpoint.dtype).removeprefix("torch.")
    dtypes = sorted({str(t.dtype)[len("torch.") :] for t in checkpoint.weights.values()})
    return {
        "layout": checkpoint.layout,
        "shards": _shards(checkpoint),
        "step": checkpoint.iteration,
        "tensor_parallel": checkpoint.tensor_parallel,
        "pipeline_parallel": checkpoint.pipeline_parallel,
        "virtual_stages": checkpoint.virtual_stages,
        "parameters": checkpoint.num_parameters,
        "dtype": ", ".join([main, *(each for each in dtypes if each != main)]),
        "dtypes": dtypes,
        "files": len(checkpoint.files),
        "head": (
            f"{architecture.classes} classes on the {architecture.pooling} token"
            if architecture.classes is not None
            else "none"
        ),
        "tokenizer": _tokenizer(checkpoint),
        "architecture": asdict(architecture),
    }


def _tokenizer(checkpoint: Checkpoint) -> str:
    """Say what it is, or what is wrong with it: the checkpoint is worth printing anyway."""
    from megatick_export.errors import TokenizerError
    from megatick_export.tokenizer import find_tokenizer, load_tokenizer

    try:
        source = find_tokenizer(checkpoint, None)
        vocabulary = load_tokenizer(checkpoint, source).get_vocab_size()
    except TokenizerError as error:
        return str(error)
    files = ", ".join(map(str, source.files))
    return f"{source.kind}, {vocabulary:,} tokens, {source.origin}: {files}"


def _shards(checkpoint: Checkpoint) -> str:
    text = f"{checkpoint.tensor_parallel} tensor-parallel"
    text += f" x {checkpoint.pipeline_parallel} pipeline-parallel"
    virtual = checkpoint.virtual_stages
    return text + (f" (x {virtual} virtual)" if virtual > 1 else "")
