"""``megatick brief``: what the served answers mean for those who decide."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.progress import Progress

from megatick_cli.bar_closes import CloseTime, clock, closed_at, named
from megatick_cli.connection import Connection, client_of, with_connection
from megatick_cli.frames import finite, print_frame

if TYPE_CHECKING:
    from megatick_client import Client
    from megatick_training.headlines import Headlines

_TIMEOUT_S: Final = 120.0
_SERVER: Final = "The server"
_PORTFOLIO: Final = "Portfolio and risk"


@with_connection
def brief(
    prices: Annotated[
        Path,
        typer.Option(
            help="Closes: CSV, JSON lines (.gz or not) or Parquet; long (symbol, date, "
            "close, perhaps adj_close) or wide (date, a column a symbol)."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Page to write (HTML).")],
    news: Annotated[
        Path | None,
        typer.Option(
            help="Texts (symbol, published_at with its zone, text), as `megatick collect` "
            "gathers them; with a column score, as `megatick batch` gives it, they are not "
            "scored again."
        ),
    ] = None,
    holdings: Annotated[
        Path | None,
        typer.Option(
            help="What is held: symbol, and quantity or value, below 0 where short.",
            show_default="1,000 of each symbol",
            rich_help_panel=_PORTFOLIO,
        ),
    ] = None,
    backtest_bars: Annotated[
        int,
        typer.Option(
            min=0,
            help="Bars gone by whose risk is forecast too, and set beside what came; 0 for "
            "none.",
            rich_help_panel=_PORTFOLIO,
        ),
    ] = 250,
    symbols: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Only these symbols.")
    ] = None,
    close_time: CloseTime = "00:00",
    as_of: Annotated[
        datetime | None,
        typer.Option(
            formats=["%Y-%m-%d", "%Y-%m-%dT%H:%M"],
            help="Nothing later is read, UTC.",
            show_default="the last close or text",
        ),
    ] = None,
    url: Annotated[
        str,
        typer.Option(
            metavar="HOST:PORT", help="A server that runs.", rich_help_panel=_SERVER
        ),
    ] = "127.0.0.1:8001",
    repository: Annotated[
        Path | None,
        typer.Option(
            help="Or serve what `megatick export` wrote, for as long as it takes.",
            rich_help_panel=_SERVER,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    *,
    connection: Connection,
) -> None:
    """Write a page for decisions: prices, mood, impact of news, portfolio and risk.

    Exit status: 0 written; 1 it could not be (one message on stderr says why); 2 bad usage.
    """
    from megatick_decisions.briefing import make_brief
    from megatick_decisions.page import sections
    from megatick_training.reports import write_report

    console = Console(stderr=True)
    read = _read(
        prices,
        news,
        holdings,
        symbols=named(symbols),
        closes_at=clock(close_time),
        as_of=as_of,
    )
    with client_of(url, repository, connection, timeout_s=_TIMEOUT_S) as client:
        known, refused = _scored(client, read, console)
        with console.status("asking …") as status:
            made = make_brief(
                client,
                known,
                backtest_bars=backtest_bars,
                progress=lambda doing: status.update(f"{doing} …"),
            )
