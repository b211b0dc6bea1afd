"""``megatick inspect``: what a checkpoint is, before minutes are spent on it."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from megatick_export import Checkpoint


def inspect(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Megatron checkpoint: the tracker file's folder, or one iteration's."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Print a checkpoint's layout, architecture, size, head and tokenizer.

    Exit status: 0 read; 1 it cannot be read, or is not supported (one message on stderr
    says why); 2 bad usage.
    """
    from megatick_export import read_checkpoint

    console = Console()
    with console.status("reading the checkpoint …"):
        facts = _facts(read_checkpoint(checkpoint))
    if as_json:
        print(json.dumps(facts, indent=2))  # noqa: T201 rich would wrap it
        return
    table = Table(title=str(checkpoint), title_justify="left", show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    architecture = facts.pop("architecture")
    for name, value in {**facts, **architecture}.items():
        shown = f"{value:,}" if isinstance(value, int) and value > 9999 else str(value)
        table.add_row(name.replace("_", " "), shown)
    console.print(table)


def _facts(checkpoint: Checkpoint) -> dict[str, Any]:
    architecture = checkpoint.architecture
    return {
        "layout": checkpoint.layout,
        "iteration": checkpoint.iteration,
        "tensor_parallel": checkpoint.tensor_parallel,
        "pipeline_parallel": checkpoint.pipeline_parallel,
        "parameters": checkpoint.num_parameters,
        "dtype": str(checkpoint.dtype).removeprefix("torch."),
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
