"""``megatick export``: a checkpoint into a model repository, with its evidence."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.table import Table

from megatick_cli.reading import ArchitectureFile, read_with_bar
from megatick_contract import LABELS, Label

if TYPE_CHECKING:
    from megatick_export import Receipt

PrecisionChoice = Literal["auto", "fp32", "bf16"]
PRECISION_HELP = "Of the served model; auto is bf16 where this CPU has it, else fp32."


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="Megatron checkpoint: the tracker file's folder, or one iteration's."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Model repository to write; must not exist.")],
    architecture: ArchitectureFile = None,
    tokenizer: Annotated[
        Path | None,
        typer.Option(help="tokenizer.json.", show_default="beside the checkpoint"),
    ] = None,
    forecaster: Annotated[
        Path | None,
        typer.Option(help="Forecaster file.", show_default="calibrated random walk"),
    ] = None,
    labels: Annotated[
        str,
        typer.Option(help="What the head's rows mean, in the checkpoint's own order."),
    ] = ",".join(LABELS),
    precision: Annotated[PrecisionChoice, typer.Option(help=PRECISION_HELP)] = "auto",
    max_tokens: Annotated[
        int,
        typer.Option(
            min=1, help="Longest text to read, in tokens; the model's window bounds it."
        ),
    ] = 512,
    max_batch_tokens: Annotated[
        int, typer.Option(min=1, help="Most tokens in one run of the engine.")
    ] = 4096,
) -> None:
    """Export a checkpoint to a model repository that `megatick serve` hosts.

    The graph is checked against a reference network on 64 ragged rows before anything is
    left at --out; the figures, hashes and versions are in its receipt.json.

    Exit status: 0 written; 1 failed, and nothing is left at --out (one message on stderr
    says why); 2 bad usage.
    """
    from megatick_export import ExportOptions, export_repository
    from megatick_server.forecast import load_forecaster

    console = Console()
    options = ExportOptions(
        tokenizer=tokenizer,
        forecaster=forecaster,
        labels=_as_labels(labels),
        precision=precision,
        max_tokens=max_tokens,
        max_batch_tokens=max_batch_tokens,
    )
    if forecaster is not None:
        load_forecaster(forecaster)  # refuse here what the server would refuse later
    read = read_with_bar(checkpoint, architecture)
    with console.status("exporting …") as status:
        receipt = export_repository(
            read,
            out,
            options=options,
            progress=lambda stage: status.update(f"{stage} …"),
        )
    console.print(_evidence(receipt))
    console.print(f"[green]✓[/] {out}  [dim]next: megatick serve {out}[/]")


def parity_line(receipt: Receipt) -> str:
    """The evidence in one line."""
    return "; ".join(
        f"{each.engine}: max |Δlogit| {each.max_abs_diff:.1e}, {each.label_flips} of "
        f"{each.rows} labels flip"
        for each in receipt.parity
    )


def _as_labels(given: str) -> tuple[Label, ...]:
    known: dict[str, Label] = {label: label for label in LABELS}
    try:
        return tuple(known[part.strip()] for part in given.split(","))
    except KeyError as error:
        raise typer.BadParameter(
            f"expected {', '.join(LABELS)} in the checkpoint's order, found {error}",
            param_hint="--labels",
        ) from error


def _evidence(receipt: Receipt) -> Table:
    table = Table(title="Against the reference network", title_justify="left")
    table.add_column("engine")
    table.add_column("max |Δ logit|", justify="right")
    table.add_column("labels that flip", justify="right")
    for each in receipt.parity:
        table.add_row(
            each.engine, f"{each.max_abs_diff:.2e}", f"{each.label_flips} of {each.rows}"
        )
    return table
