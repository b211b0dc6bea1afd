"""``megatick collect``: texts as they are published, with their times."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from megatick_training.collecting import Outcome, Store

collect = typer.Typer(
    no_args_is_help=True,
    help="Gather texts from feeds and EDGAR into Parquet, each once, with `published_at`.",
)

_Out = Annotated[
    Path,
    typer.Option(
        metavar="FILE.parquet", help="The collection; what it holds already stays in it."
    ),
]
_AGENT: Final = "megatick-collect"


@collect.command()
def rss(
    urls: Annotated[list[str], typer.Argument(metavar="URL…", help="RSS or Atom feeds.")],
    out: _Out,
    symbol: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="That these feeds are about; may be repeated."),
    ] = None,
) -> None:
    """Gather the entries of feeds; at the next run, only what is new is asked for.

    Entries without a date that has a zone are dropped, and counted.

    Exit status: 0 every feed was read; 1 some were not (the others are written), or nothing
    could be written; 2 bad usage.
    """
    from megatick_training.collecting import Fetcher, Store, collect_feed

    store = Store(out)
    outcomes: list[Outcome] = []
    with Fetcher(user_agent=_AGENT) as fetcher, Console(stderr=True).status("reading …"):
        for url in dict.fromkeys(urls):
            outcome = collect_feed(
                url,
                fetcher=fetcher,
                now=datetime.now(UTC),
                symbols=tuple(symbol or ()),
                validators=store.validators.get(url),
            )
            store.validators[url] = outcome.validators
            outcomes.append(outcome)
    _write(store, outcomes, out)


@collect.command()
def edgar(
    out: _Out,
    contact: Annotated[
        str,
        typer.Option(
            metavar="'NAME E-MAIL'", help="Whom EDGAR may write to; it asks for that."
        ),
    ],
    since: Annotated[
        datetime,
        typer.Option(formats=["%Y-%m-%d"], help="First filing date, inclusive."),
    ],
    symbols: Annotated[
        str, typer.Option(metavar="A,B", help="Symbols of companies.", show_default=False)
    ] = "",
    ciks: Annotated[
        str, typer.Option(metavar="N,M", help="EDGAR's own numbers.", show_default=False)
    ] = "",
    forms: Annotated[
        str, typer.Option(metavar="F,G", help="Forms; an amendment is another form.")
    ] = "8-K,10-Q",
) -> None:
    """Gather the main documents of companies' filings, at most ten requests a second.

    Exit status: 0 all were read; 1 some were not (the others are written), or nothing could
    be written; 2 bad usage.
    """
    from megatick_training.collecting import Edgar, Fetcher, Store
    from megatick_training.collecting.edgar import INTERVAL_S, user_agent

    named, numbers = _listed(symbols), _listed(ciks)
    if not (named or numbers) or not all(each.isdigit() for each in numbers):
        raise typer.BadParameter("give --symbols A,B or --ciks N,M, numbers")
    store = Store(out)
    with (
        Fetcher(user_agent=user_agent(contact), interval_s=INTERVAL_S) as fetcher,
        Console(stderr=True).status("reading …"),
    ):
        archive = Edgar(fetcher)
        found = archive.ciks_of(named).values() if named else ()
        outcomes = [
            archive.collect(
                cik, forms=_listed(forms), since=since.date(), now=datetime.now(UTC)
            )
            for cik in dict.fromkeys([*map(int, numbers), *found])
        ]
    _write(store, outcomes, out)


def _listed(written: str) -> list[str]:
    return [each.strip() for each in written.split(",") if each.strip()]


def _write(store: Store, outcomes: Iterable[Outcome], out: Path) -> None:
    """Add what was read, say what came of each, and exit by it."""
    console, failed = Console(), False
    for outcome in outcomes:
        added = store.add(outcome.articles)
        told = "unchanged" if outcome.unchanged else f"{len(outcome.articles)} articles"
        dropped = "".join(f", {n} dropped: {why}" for why, n in outcome.dropped.items())
        console.print(
            f"{escape(outcome.asked)}: {told}, {added} new{escape(dropped)}",
            highlight=False,
            soft_wrap=True,
        )
        if outcome.problem:
            failed = True
            Console(stderr=True).print(
                f"[red]error:[/] {escape(outcome.asked)}: {escape(outcome.problem)}",
                highlight=False,
                soft_wrap=True,
            )
    store.write()
    console.print(f"{escape(str(out))}: {len(store)} articles", highlight=False)
    if failed:
        raise typer.Exit(1)
