"""``megatick loadtest``: sweep a server with NVIDIA's perf_analyzer and your own texts."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from megatick_cli.connection import Connection, with_connection
from megatick_cli.replay import calls_of

if TYPE_CHECKING:
    from megatick_client.load.sweep import Sweep

DistributionChoice = Literal["constant", "poisson"]

_WHAT = "What is asked"
_HOW = "How it is measured"
_COLUMNS = ("rows/s", "p50", "p90", "p95", "p99", "mean", "in server")


@with_connection
def loadtest(
    texts: Annotated[
        Path,
        typer.Argument(
            help="File of texts (CSV, JSON lines or Parquet with a column 'text', or "
            "plain text, one a line), or a folder of such files."
        ),
    ],
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT",
            help="gRPC port of a server that runs already, opened with `--open "
            "model-config --open statistics`.",
            show_default=False,
        ),
    ] = None,
    repository: Annotated[
        Path | None,
        typer.Option(
            help="Start a server of this model repository instead, on a free port.",
            show_default=False,
        ),
    ] = None,
    concurrency: Annotated[
        str | None,
        typer.Option(
            metavar="N,N,…",
            help="Calls always in flight, one level after another.",
            show_default="1,2,4,8,16",
        ),
    ] = None,
    request_rate: Annotated[
        str | None,
        typer.Option(
            metavar="CALLS/S,…", help="Calls a second instead.", show_default=False
        ),
    ] = None,
    text_column: Annotated[
        str,
        typer.Option(metavar="NAME", help="Holds the texts.", rich_help_panel=_WHAT),
    ] = "text",
    prices: Annotated[
        Path | None,
        typer.Option(
            help="File of closes (a column a symbol), or a folder of files with a column "
            "'close', one a symbol: asks market_view instead of sentiment.",
            show_default=False,
            rich_help_panel=_WHAT,
        ),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Ask a model of another name with the same tensors.",
            show_default="sentiment, or market_view with --prices",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    rows: Annotated[
        int, typer.Option(min=1, help="Texts a call.", rich_help_panel=_WHAT)
    ] = 1,
    distribution: Annotated[
        DistributionChoice | None,
        typer.Option(
            help="Of the gaps between calls, with --request-rate.",
            show_default="constant",
            rich_help_panel=_HOW,
        ),
    ] = None,
    window: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="Of one measurement window.", rich_help_panel=_HOW
        ),
    ] = 5.0,
    trials: Annotated[
        int, typer.Option(min=3, help="Windows at most.", rich_help_panel=_HOW)
    ] = 10,
    stability: Annotated[
        float,
        typer.Option(
            metavar="PERCENT",
            help="How far apart three windows may be; a level whose windows never come "
            "so close has no figures.",
            rich_help_panel=_HOW,
        ),
    ] = 10.0,
    out: Annotated[
        Path,
        typer.Option(metavar="FOLDER", help="For CSV, JSON, the page, and what was said."),
    ] = Path("build/loadtest"),
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of a table.")
    ] = False,
    *,
    connection: Connection,
) -> None:
    """Sweep a server with NVIDIA's perf_analyzer, fed with your own texts and prices.

    perf_analyzer is taken from PATH; where it is not there, the first use installs it
    into an environment of its own under ~/.cache/megatick.  Its latencies begin at the
    actual send; `megatick replay` measures from when a call was due.

    Exit status: 0 measured; 1 it could not be, or no level was stable; 2 bad usage.
    """
    from megatick_client.load import ScheduleError
    from megatick_client.load.perf_analyzer import find_perf_analyzer
    from megatick_client.load.sweep import SweepOptions, sweep
    from megatick_client.load.sweep_report import write_sweep

    if (address is None) == (repository is None):
        raise typer.BadParameter("give --address of a running server, or --repository")
    if connection and address is None:
        raise typer.BadParameter(
            "give --address as well: a server that is started here is not protected"
        )
    if connection.headers:
        raise typer.BadParameter(
            "perf_analyzer takes keys and headers on its command line alone, where every "
            "user of this machine can read them; `megatick replay` takes them from a file"
        )
    if concurrency is not None and request_rate is not None:
        raise typer.BadParameter("give --concurrency or --request-rate, not both")
    if distribution is not None and request_rate is None:
        raise typer.BadParameter("--distribution goes with --request-rate")
    try:
        options = SweepOptions(
            mode="concurrency" if request_rate is None else "request-rate",
            levels=_levels(request_rate or concurrency or "1,2,4,8,16"),
            rows=rows,
            distribution=distribution or "constant",
            window_s=window,
            trials=trials,
            stability_percent=stability,
        )
    except ScheduleError as error:
        raise typer.BadParameter(str(error)) from error
    calls = calls_of(texts, prices, text_column=text_column, model=model, rows=1)
    with Console(stderr=True).status("finding perf_analyzer …") as status:
        tool = find_perf_analyzer(cache_folder(), environment=os.environ)
        status.update("starting the server …" if address is None else "asking the server …")
        with _server(address, repository) as endpoint:
            result = sweep(
                tool,
                calls,
                endpoint,
                out,
                options=options,
                tls=connection.tls,
                progress=lambda level: status.update(f"{options.mode} {level:g} …"),
            )
    files = write_sweep(result, out)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        _print(result)
        Console().print(f"Written: {', '.join(map(str, files))}", soft_wrap=True)
    if result.best is None:
        raise typer.Exit(1)


def _levels(given: str) -> tuple[float, ...]:
    try:
        return tuple(float(each) for each in given.split(","))
    except ValueError as error:
        raise typer.BadParameter(
            f"expected numbers with commas between them, found {given!r}"
        ) from error


def cache_folder() -> Path:
    """Where an environment of our own may be kept.  Source: XDG Base Directory 0.8."""
    given = os.environ.get("XDG_CACHE_HOME", "")
    base = Path(given) if Path(given).is_absolute() else Path.home() / ".cache"
    return base / "megatick"


@contextlib.contextmanager
def _server(address: str | None, repository: Path | None) -> Iterator[str]:
    """The given server's address, or that of one that runs as long as it is needed."""
    if address is not None or repository is None:
        yield address or ""
        return
    from megatick_server.launcher import Api, ServeOptions, TritonServer

    opened = frozenset({Api.MODEL_CONFIG, Api.STATISTICS})
    options = ServeOptions(grpc_port=0, metrics_port=None, opened=opened)
    with TritonServer(repository, options) as server:
        yield server.endpoints.grpc


def _print(result: Sweep) -> None:
    from megatick_client.load.sweep_report import AXES

    console, rows = Console(), result.options.rows
    console.print(
        f"[bold]{escape(result.model)}[/] at {escape(result.endpoint)}, "
        f"{rows} row{'s' if rows > 1 else ''} a call; ms, from the actual send",
        highlight=False,
    )
    console.print(f"[dim]{escape(result.perf_analyzer)}[/]", highlight=False)
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for name in (AXES[result.options.mode], *_COLUMNS):
        table.add_column(name, justify="right")
    table.add_column("")
    for each in result.levels:
        percentiles = (each.p50_ms, each.p90_ms, each.p95_ms, each.p99_ms)
        figures = (each.rows_per_s, *percentiles, each.mean_ms, each.in_server_ms)
        table.add_row(
            f"{each.level:g}",
            *(f"{value:,.1f}" if each.stable else "–" for value in figures),
            "" if each.stable else "[yellow]not stable[/]",
        )
    console.print(table)
    if result.best is None:
        console.print(
            "[yellow]warning:[/] no level was stable: allow longer windows (--window), or "
            "more difference (--stability)",
            highlight=False,
        )
