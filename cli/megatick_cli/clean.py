"""``megatick clean``: financial text made fit for a language model."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

if TYPE_CHECKING:
    from megatick_training.cleaning import CleaningReport

CashtagChoice = Literal["keep", "bare", "drop"]


def clean(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="CSV or JSON lines (also .gz, .zst) or Parquet; or a folder or a quoted "
            "glob of such files.",
        ),
    ],
    out: Annotated[
        Path, typer.Option(metavar="FILE", help="A .parquet or .jsonl to write.")
    ],
    column: Annotated[
        str, typer.Option(metavar="NAME", help="The column of the texts.")
    ] = "text",
    cashtags: Annotated[
        CashtagChoice, typer.Option(help="Of $ACME: keep it, leave ACME, or drop it.")
    ] = "keep",
    repeated_passages: Annotated[
        bool, typer.Option(help="Drop what a source repeats from text to text.")
    ] = True,
    near_duplicates: Annotated[
        bool, typer.Option(help="Drop what says again what an earlier row said.")
    ] = True,
    resemblance: Annotated[
        float,
        typer.Option(
            min=0.2,
            max=1.0,
            help="From it on two texts of the same symbols and figures say the same.",
        ),
    ] = 0.8,
    stop_words: Annotated[
        bool,
        typer.Option(
            "--drop-stop-words",
            help="English and Chinese ones, for a lexicon that counts words; never for a "
            "language model.",
        ),
    ] = False,
    original: Annotated[
        bool, typer.Option("--original", help="Keep each text as it was, too.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Clean the texts of INPUT, and count what each step did.

    The output has the input's columns and `source_row`, the number of the row in the input,
    from 0.  The rows that it lacks stand with their reasons in OUT.dropped.jsonl.

    Exit status: 0 written; 1 the input cannot be read; 2 bad usage.
    """
    from megatick_training.cleaning import CleaningOptions, clean_file

    options = CleaningOptions(
        column=column,
        cashtags=cashtags,
        repeated_passages=repeated_passages,
        near_duplicates=near_duplicates,
        resemblance=resemblance,
        stop_words=stop_words,
        original=original,
    )
    with Console(stderr=True).status("cleaning …"):
        report = clean_file(source, out, options=options)
    if as_json:
        typer.echo(json.dumps(asdict(report), ensure_ascii=False, indent=2))
    else:
        _print(report, out)


def _print(report: CleaningReport, out: Path) -> None:
    console = Console()
    steps = _table("step", "rows changed")
    for step in report.steps:
        steps.add_row(step.step, f"{step.rows:,}")
    reasons = _table("dropped because", "rows")
    for each in report.dropped:
        reasons.add_row(each.reason, f"{each.rows:,}")
    console.print(steps, reasons)
    for passage in report.passages[:5]:
        console.print(
            f"repeated in {passage.rows:,} rows: {escape(passage.passage[:60])}",
            highlight=False,
        )
    if report.other_labels:
        console.print(
            f"[yellow]warning:[/] {report.other_labels:,} duplicates have another label "
            "than the row that they repeat",
            highlight=False,
        )
    console.print(
        f"{escape(str(out))}: {report.kept:,} of {report.rows:,} rows; the others: "
        f"{escape(str(out))}.dropped.jsonl",
        highlight=False,
        soft_wrap=True,
    )


def _table(first: str, second: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first)
    table.add_column(second, justify="right")
    return table
