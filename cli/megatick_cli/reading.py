"""Reading a checkpoint with a bar, for the commands that do."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn

if TYPE_CHECKING:
    from megatick_export import Checkpoint

ArchitectureFile = Annotated[
    Path | None,
    typer.Option(
        "--architecture",
        help="JSON or TOML with Megatron's args, for a checkpoint that carries none.",
    ),
]


def read_with_bar(checkpoint: Path, architecture: Path | None) -> Checkpoint:
    """Read a checkpoint; on a terminal, a bar on stderr counts the bytes."""
    from megatick_export import read_architecture_file, read_checkpoint

    given = None if architecture is None else read_architecture_file(architecture)
    columns = TextColumn("reading the checkpoint"), BarColumn(), DownloadColumn()
    console = Console(stderr=True)
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)
        return read_checkpoint(
            checkpoint,
            absent_args=given,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )
