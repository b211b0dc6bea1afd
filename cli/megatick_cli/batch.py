"""``megatick batch``: files of any size to scores, and what became of such batches."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import typer
from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TaskProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text
from typer.core import TyperGroup

from megatick_cli.connection import Connection, with_connection

if TYPE_CHECKING:
    from megatick_client import Client
    from megatick_client.batches import BatchProgress, BatchStatus

_RUN: Final = "run"
_HOW: Final = "How the rows are scored"

TruncationChoice = Literal["head", "tail", "error"]
EngineChoice = Literal["threads", "ray"]
PriorityChoice = Literal["backfill", "live"]


class _RunsUnlessTold(TyperGroup):
    """Reads ``batch INPUT OUTPUT`` as ``batch run INPUT OUTPUT``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and args[0] not in (*self.commands, "--help"):
            args = [_RUN, *args]
        return super().parse_args(ctx, args)


batch = typer.Typer(
    cls=_RunsUnlessTold,
    no_args_is_help=True,
    help="Score files of any size, and take up a batch that was stopped.\n\n"
    "`megatick batch INPUT OUTPUT` is short for `megatick batch run INPUT OUTPUT`.",
)

_Output = Annotated[
    Path,
    typer.Argument(metavar="OUTPUT", help="What the batch writes, or its OUTPUT.job."),
]
_Addresses = Annotated[
    list[str],
    typer.Option(
        "--address", metavar="HOST:PORT", help="A server's gRPC port; once for each server."
    ),
]
_Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
_DEFAULT_ADDRESSES: Final = ["127.0.0.1:8001"]


@batch.command(_RUN)
@with_connection
def run(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="CSV or JSON lines (also .gz, .zst) or Parquet; or a folder or a quoted "
            "glob of such files.",
        ),
    ],
    output: Annotated[
        Path, typer.Argument(metavar="OUTPUT", help="A .parquet or .jsonl to write.")
    ],
    column: Annotated[
        str, typer.Option(metavar="NAME", help="The column of the texts.")
    ] = "text",
    address: _Addresses = _DEFAULT_ADDRESSES,
    prefix: Annotated[
        str,
        typer.Option(
            metavar="TEXT",
            help="Put before the names of the columns that are added, where the input has "
            "such names itself.",
            show_default=False,
        ),
    ] = "",
    truncation: Annotated[
        TruncationChoice,
        typer.Option(
            help="What is read of a text longer than the model's window; error refuses it.",
            rich_help_panel=_HOW,
        ),
    ] = "head",
    priority: Annotated[
        PriorityChoice,
        typer.Option(help="backfill lets live calls pass.", rich_help_panel=_HOW),
    ] = "backfill",
    dedupe: Annotated[
        bool,
        typer.Option("--dedupe", help="Score equal texts once.", rich_help_panel=_HOW),
    ] = False,
    engine: Annotated[
        EngineChoice,
        typer.Option(
            help="Who makes the requests: threads of this process, or a Ray cluster "
            "(RAY_ADDRESS, else a local one).",
            rich_help_panel=_HOW,
        ),
    ] = "threads",
    in_flight: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Requests of 32 rows that wait for an answer at a time.",
            show_default="8 a server",
            rich_help_panel=_HOW,
        ),
    ] = None,
    timeout_s: Annotated[
        float,
        typer.Option(
            "--timeout-s",
            metavar="SECONDS",
            help="How long one request may take.",
            rich_help_panel=_HOW,
        ),
    ] = 60.0,
    patience_s: Annotated[
        float,
        typer.Option(
            "--patience-s",
            metavar="SECONDS",
            help="How long to wait for servers that give no answer at all.",
            rich_help_panel=_HOW,
        ),
    ] = 600.0,
    *,
    connection: Connection,
) -> None:
    """Score every row of INPUT, and write it with its score to OUTPUT.

    What is done is kept in OUTPUT.job: after a crash, a kill or Ctrl+C, `megatick batch
    resume OUTPUT` scores the rest.  Rows that cannot be scored are listed with their
    reasons in OUTPUT.errors.jsonl.

    Exit status: 0 written, whatever was refused; 1 stopped, and can be resumed, or nothing
    could be begun; 2 bad usage.
    """
    with _client(address, connection) as client, _bar() as report:
        status = client.batches.submit(
            source,
            output=output,
            column=column,
            prefix=prefix,
            truncation=truncation,
            priority=priority,
            dedupe=dedupe,
            engine=engine,
            in_flight=in_flight,
            timeout_s=timeout_s,
            patience_s=patience_s,
            report=report,
        )
    _print_written(status)


@batch.command()
@with_connection
def resume(
    output: _Output,
    address: _Addresses = _DEFAULT_ADDRESSES,
    *,
    connection: Connection,
) -> None:
    """Finish a batch that was stopped in whatever way, with its own settings.

    What it takes to reach a protected server is given again: a batch keeps no secret.

    Exit status: as of `megatick batch run`.
    """
    with _client(address, connection) as client, _bar() as report:
        status = client.batches.resume(output, report=report)
    _print_written(status)


@batch.command()
def status(output: _Output, as_json: _Json = False) -> None:
    """Tell how far a batch has come.

    Exit status: 0 told; 1 there is no such batch; 2 bad usage.
    """
    from megatick_client.batches import Batches

    _print_statuses([Batches.status(output)], as_json=as_json)


@batch.command("list")
def list_batches(
    folder: Annotated[
        Path, typer.Argument(metavar="[FOLDER]", help="Where the outputs are.")
    ] = Path(),
    as_json: _Json = False,
) -> None:
    """List the batches that write to a folder.

    Exit status: 0 told; 2 bad usage.
    """
    from megatick_client.batches import Batches

    _print_statuses(Batches.list(folder), as_json=as_json)


@batch.command()
def cancel(output: _Output) -> None:
    """Stop a batch; what it scored is kept, and `megatick batch resume` would go on.

    Exit status: 0 told to stop; 1 there is no such batch, or it is finished; 2 bad usage.
    """
    from megatick_client.batches import Batches

    left = Batches.cancel(output)
    stops = (
        " stops within a request's time" if left.state == "running" else f" is {left.state}"
    )
    Console().print(f"{left.output}:{stops}; {left.rows:,} rows are kept.", soft_wrap=True)


def _client(addresses: list[str], connection: Connection) -> Client:
    from megatick_client import Client

    return Client(addresses, tls=connection.tls, headers=connection.headers)


@contextmanager
def _bar() -> Iterator[Callable[[BatchProgress], None]]:
    """On a terminal, a bar on stderr: how much of the input, rows, rate, time left."""
    console = Console(stderr=True)
    columns = (
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[rows]:,} rows, {task.fields[refused]:,} refused"),
        TextColumn("{task.fields[rate]:,.0f} rows/s"),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None, rows=0, refused=0, rate=0.0)
        begun: list[tuple[float, int]] = []

        def report(told: BatchProgress) -> None:
            now_s = time.monotonic()
            begun.append((now_s, told.rows))
            # Over the last reports, so that it tells how fast it is now.
            del begun[: max(0, len(begun) - 200)]
            seconds, rows = now_s - begun[0][0], told.rows - begun[0][1]
            bar.update(
                task,
                total=told.size,
                completed=told.read_bytes,
                rows=told.rows,
                refused=told.rows - told.scored,
                rate=rows / seconds if seconds else 0.0,
            )

        yield report


def _print_written(status: BatchStatus) -> None:
    console = Console()
    console.print(
        f"{status.output}: {status.scored:,} of {status.rows:,} rows scored by model "
        f"{status.model_digest:.12}",
        soft_wrap=True,
        highlight=False,
    )
    if status.refused:
        console.print(
            f"[yellow]warning:[/] rows refused: {status.refused:,}; why: {status.errors}",
            soft_wrap=True,
            highlight=False,
        )


def _print_statuses(statuses: Iterable[BatchStatus], *, as_json: bool) -> None:
    if as_json:
        for each in statuses:
            typer.echo(json.dumps({**asdict(each), "refused": each.refused}, default=str))
        return
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("output", overflow="fold")
    table.add_column("state")
    for name in ("rows", "scored", "refused"):
        table.add_column(name, justify="right")
    table.add_column("begun (UTC)")
    table.add_column("", overflow="fold")
    for each in statuses:
        counts = (f"{count:,}" for count in (each.rows, each.scored, each.refused))
        begun = each.created_at_utc[:16].replace("T", " ")
        table.add_row(Text(str(each.output)), each.state, *counts, begun, Text(each.reason))
    Console().print(table)
