"""``megatick score``: the sentiment of texts, from a running server."""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from megatick_cli.connection import Connection, with_connection
from megatick_cli.labels import coloured

if TYPE_CHECKING:
    from megatick_client import Sentiments


@with_connection
def score(
    texts: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="TEXT",
            help="Texts to score; without any, or with a lone -, --file or standard input "
            "is read.",
            show_default=False,
        ),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            readable=True,
            help="UTF-8 file of one text a line; blank lines are left out.",
            show_default=False,
        ),
    ] = None,
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The server's gRPC port.")
    ] = "127.0.0.1:8001",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object a text and line.")
    ] = False,
    explain: Annotated[
        bool,
        typer.Option(
            "--explain",
            help="Name the words that each score rests on, by leaving words out "
            "(docs/explain.md).",
        ),
    ] = False,
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout-s", metavar="SECONDS", help="How long all texts together may take."
        ),
    ] = 60.0,
    *,
    connection: Connection,
) -> None:
    """Score the sentiment of texts: P(positive) - P(negative), from -1 to 1.

    Exit status: 0 every text scored; 1 none (one message on stderr says why, and which
    text); 2 bad usage.
    """
    from megatick_cli.explained import explained_table
    from megatick_client import Client, Explanations

    given = _texts(texts or [], file)
    with (
        Client(
            address,
            timeout_s=timeout_s,
            tls=connection.tls,
            headers=connection.headers,
        ) as client,
        Console(stderr=True).status(
            f"{'Explaining' if explain else 'Scoring'} {len(given)} texts…"
        ),
    ):
        begin_s = time.perf_counter()
        results = client.explain(given) if explain else client.score(given)
        took_ms = (time.perf_counter() - begin_s) * 1e3
    if as_json:
        for result in results:
            fields = dataclasses.asdict(result)
            # Of this connection, and of texts that are split: no part of this score.
            for key in ("reply", "parts"):
                fields.pop(key, None)
            typer.echo(json.dumps(fields, ensure_ascii=False))
        return
    count = f"{len(given)} text{'s' if len(given) > 1 else ''}"
    caption = f"{count} in {took_ms:.1f} ms at {address}"
    if isinstance(results, Explanations):
        Console().print(explained_table(results, caption=caption))
    else:
        Console().print(_table(results, caption=caption))


def _texts(texts: list[str], file: Path | None) -> list[str]:
    """Take the texts from the one place that was given."""
    if texts and file:
        raise typer.BadParameter("give TEXT or --file, not both")
    if texts and texts != ["-"]:
        return texts
    if file is None and not texts and sys.stdin.isatty():
        raise typer.BadParameter("give TEXT, --file, or pipe in one text a line")
    raw = file.read_bytes() if file else sys.stdin.buffer.read()
    source = str(file or "standard input")
    lines: list[str] = []
    for number, line in enumerate(raw.splitlines(), start=1):
        try:
            lines.append(line.decode("utf-8"))
        except UnicodeDecodeError as error:
            raise typer.BadParameter(
                f"{source}, line {number}: expected UTF-8, found byte "
                f"0x{line[error.start]:02x} at {error.start}; convert the file first"
            ) from error
    kept = [line for line in lines if line.strip()]
    if not kept:
        raise typer.BadParameter(f"{source}: expected one text a line, found none")
    return kept


def _table(results: Sentiments, *, caption: str) -> Table:
    table = Table(
        caption=caption, caption_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    table.add_column("text", overflow="fold")
    table.add_column("label")
    for name in ("score", "P(neg)", "P(neu)", "P(pos)", "tokens"):
        table.add_column(name, justify="right")
    for result in results:
        table.add_row(
            Text(result.text),  # brackets in a headline are no markup
            coloured(result.label),
            f"{result.score:+.2f}",
            *(f"{each:.2f}" for each in dataclasses.astuple(result.probabilities)),
            f"{result.tokens}{' (cut)' if result.truncated else ''}",
        )
    return table
