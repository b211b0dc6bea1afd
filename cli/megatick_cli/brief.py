"""``megatick brief``: what the served answers mean for those who decide."""

from __future__ import annotations

import json
import sys
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
    from megatick_decisions.briefing import Brief
    from megatick_decisions.known import Known

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
    from megatick_decisions.known import know
    from megatick_decisions.page import sections
    from megatick_training.headlines import Headlines, read_headlines
    from megatick_training.prices import read_closes
    from megatick_training.reports import write_report

    console = Console(stderr=True)
    with console.status("reading …"):
        known = know(
            closed_at(read_closes(prices, symbols=named(symbols)), clock(close_time)),
            Headlines.none() if news is None else read_headlines(news),
            holdings=holdings,
            as_of=as_of,
        )
    with client_of(url, repository, connection, timeout_s=_TIMEOUT_S) as client:
        known = _scored(client, known, console)
        with console.status("asking …") as status:
            made = make_brief(
                client,
                known,
                backtest_bars=backtest_bars,
                progress=lambda doing: status.update(f"{doing} …"),
            )
    data = {"prices": prices, "news": news, "holdings": holdings}
    write_report(
        out,
        title=f"Brief as of {known.as_of:%Y-%m-%d %H:%M} UTC",
        command=("megatick", *sys.argv[1:]),
        data={what: path for what, path in data.items() if path is not None},
        sections=sections(made, known),
    )
    if as_json:
        typer.echo(_json(made, known))
        return
    _print(made, known)
    console.print(f"[green]✓[/] {out}", highlight=False)


def _scored(client: Client, known: Known, console: Console) -> Known:
    """Have the server score the texts that have no score yet."""
    from megatick_decisions.asking import score_texts

    texts = known.headlines.unscored
    if not texts:
        return known
    with Progress(console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(f"scoring {len(texts):,} texts", total=len(texts))
        scores = score_texts(
            client, texts, progress=lambda done: progress.advance(task, done)
        )
    if len(scores) < len(texts):
        console.print(
            f"{len(texts) - len(scores)} of {len(texts):,} texts were refused and are left "
            "out: too long, or no text at all",
            highlight=False,
        )
    return known.with_scores(scores)


def _print(made: Brief, known: Known) -> None:
    from megatick_decisions.page import mood_table, price_table

    print_frame("Price prediction (returns in %)", price_table(made.outlook))
    if len(known.headlines):
        print_frame("Market mood", mood_table(made.mood, known.headlines))


def _json(made: Brief, known: Known) -> str:
    """The figures of the page; one that does not exist is null."""
    outlook, now = made.outlook, made.mood.market.iloc[-1]
    document = {
        "as_of_utc": known.as_of.isoformat(),
        "horizons_bars": outlook.horizons_bars,
        "edge": outlook.edge.tolist(),
        "edge_p_value": outlook.edge_p_value.tolist(),
        "levels": outlook.levels,
        "forecasts": [
            {
                "symbol": symbol,
                "last_price": outlook.last_price[row],
                "last_at_utc": outlook.last_at[row].isoformat(),
                "p_up": outlook.p_up[row].tolist(),
                "quantiles": outlook.quantiles[row].tolist(),
                "baseline_quantiles": outlook.baseline_quantiles[row].tolist(),
            }
            for row, symbol in enumerate(outlook.symbols)
        ],
        "mood": now.to_dict() | {"by_symbol": made.mood.symbols.iloc[-1].to_dict()},
    }
    return json.dumps(finite(document), indent=2)
