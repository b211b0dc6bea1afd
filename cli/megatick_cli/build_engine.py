"""``megatick build-engine``: the TensorRT plan of an exported repository."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    from megatick_export.engine import CompileCheck, EngineRecord, LayerReport


def build_engine(
    repository: Annotated[
        Path,
        typer.Argument(help="Model repository, exported with --target tensorrt."),
    ],
    check_only: Annotated[
        str | None,
        typer.Option(
            metavar="SM89,SM120",
            help="Only compile for these GPUs, which need not be there, with TensorRT-RTX; "
            "nothing is written.",
            show_default="build for this machine's GPU",
        ),
    ] = None,
    lengths: Annotated[
        Path | None,
        typer.Option(
            help="Tokens of typical texts, one number a line; the engine is fastest there.",
            show_default="invented headlines",
        ),
    ] = None,
    timing_cache: Annotated[
        Path | None,
        typer.Option(
            help="File that makes the next build on such a GPU faster; read and written."
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="Replace a plan that is there.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Build the TensorRT engine of a repository on the GPU that will serve it.

    Writes language_model/1/model.plan and, beside it, engine.json: the GPU, the library's
    version, the profile, and the kernels that attention and linear layers became.  A plan
    runs only on such a GPU, with that version.  --check-only proves on any machine that
    NVIDIA's compiler takes the graph; it makes no plan, and runs nothing.

    Exit status: 0 built, or there already and suitable, or all checks compiled; 1 failed
    (one message on stderr says why); 2 bad usage.
    """
    from megatick_export import engine

    row_lengths = None if lengths is None else _read_lengths(lengths)
    console = Console()
    if check_only is not None:
        targets = [target.strip().upper() for target in check_only.split(",")]
        with console.status("compiling …"):
            checks = engine.check_repository(repository, targets, row_lengths=row_lengths)
        if as_json:
            typer.echo(json.dumps([asdict(check) for check in checks], indent=2))
        else:
            console.print(_checks(checks))
            for check in checks:
                _warn_of_attention(console, check.target, check.layers)
            console.print(
                "Compiled, not run, not kept: build the plan on the GPU that will serve.",
                style="dim",
                soft_wrap=True,
            )
        return
    with console.status("building …") as status:
        record = engine.build_engine(
            repository,
            row_lengths=row_lengths,
            timing_cache=timing_cache,
            rebuild=rebuild,
            progress=lambda stage: status.update(f"{stage} …"),
        )
    if as_json:
        typer.echo(record.to_json(), nl=False)
    else:
        console.print(_summary(record), soft_wrap=True, highlight=False)
        _warn_of_attention(console, record.gpu, record)


def _read_lengths(path: Path) -> list[int]:
    try:
        return [int(line) for line in path.read_text().split()]
    except ValueError as error:
        raise typer.BadParameter(
            f"{path}: expected one whole number a line, {error}", param_hint="--lengths"
        ) from error


def _checks(checks: list[CompileCheck]) -> Table:
    table = Table(title="Compiled with TensorRT-RTX", title_justify="left")
    for column in ("GPU", "layers", "fused attentions", "linear layers", "seconds"):
        table.add_column(column)
    for check in checks:
        layers = check.layers
        table.add_row(
            check.target,
            str(layers.layers),
            _attentions(layers),
            _precisions(layers.precisions),
            f"{check.seconds:.1f}",
        )
    return table


def _summary(record: EngineRecord) -> str:
    memory = record.memory_bytes
    reserved = "" if memory is None else f", {memory / 1e9:.1f} GB reserved"
    return (
        f"[green]✓[/] {record.gpu}, TensorRT {record.library_version}: {record.layers} "
        f"layers, fused attentions {_attentions(record)}, "
        f"linear layers {_precisions(record.linear_precisions)}{reserved}; built in "
        f"{record.build_s:.0f} s"
    )


def _attentions(found: LayerReport | EngineRecord) -> str:
    kernels = _precisions(found.attention_precisions)
    return f"{found.fused_attentions} of {found.attentions} ({kernels or 'none'})"


def _warn_of_attention(
    console: Console, where: str, found: LayerReport | EngineRecord
) -> None:
    """Say where attention would be slower than it need be; compilers say nothing."""
    apart = found.attentions - found.fused_attentions
    if apart:
        console.print(
            f"[bold yellow]warning:[/] {where}: {apart} of {found.attentions} attentions "
            "are separate kernels that write every score to memory",
            soft_wrap=True,
            highlight=False,
        )


def _precisions(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {precision}" for precision, count in counts.items())
