"""``megatick collect``: texts as they are published, with their times."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
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
_SAVE_EVERY_S: Final = 60.0
"""What a crash costs at most, the source that is being read aside."""


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

    def outcomes() -> Iterator[Outcome]:
        with Fetcher(user_agent=_AGENT) as fetcher:
            for url in dict.fromkeys(urls):
                with Console(stderr=True).status("reading …"):
                    outcome = collect_feed(
                        url,
                        fetcher=fetcher,
                        now=datetime.now(UTC),
                        symbols=tuple(symbol or ()),
                        validators=store.validators.get(url),
                    )
                yield outcome
                store.validators[url] = outcome.validators

    _keep(store, outcomes(), out)


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
        typer.Option(
            metavar="YYYY-MM-DD", formats=["%Y-%m-%d"], help="First filing date, inclusive."
        ),
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

    A filing that the collection has is not asked for again.

    Exit status: 0 all were read; 1 some were not (the others are written), or nothing could
    be written; 2 bad usage.
    """
    from megatick_training.collecting import Edgar, Fetcher, Store
    from megatick_training.collecting.edgar import INTERVAL_S, user_agent

    named, numbers = _listed(symbols), _listed(ciks)
    if not (named or numbers) or not all(each.isdigit() for each in numbers):
        raise typer.BadParameter("give --symbols A,B or --ciks N,M, numbers")
    store, agent = Store(out), user_agent(contact)

    def outcomes() -> Iterator[Outcome]:
        with Fetcher(user_agent=agent, interval_s=INTERVAL_S) as fetcher:
            archive = Edgar(fetcher)
            found = archive.ciks_of(named).values() if named else ()
            for cik in dict.fromkeys([*map(int, numbers), *found]):
                with Console(stderr=True).status("reading …"):
                    outcome = archive.collect(
                        cik,
                        forms=_listed(forms),
                        since=since.date(),
                        now=datetime.now(UTC),
                        known=store.urls,
                    )
                yield outcome

    _keep(store, outcomes(), out)


def _listed(written: str) -> list[str]:
    return [each.strip() for each in written.split(",") if each.strip()]


def _keep(store: Store, outcomes: Iterable[Outcome], out: Path) -> None:
    """Add what is read, say what came of each, and exit by it.

    What was read is written, too, where the reading is broken off.
    """
    failed, unsaved, saved_s = False, False, time.monotonic()
    try:
        for outcome in outcomes:
            _tell(outcome, new=store.add(outcome.articles))
            failed |= bool(outcome.problem)
            unsaved |= bool(outcome.articles) or not outcome.problem
            if time.monotonic() - saved_s >= _SAVE_EVERY_S:
                store.write()
                unsaved, saved_s = False, time.monotonic()
    finally:
        if unsaved:
            store.write()
    told = f"{len(store)} articles" if out.exists() else "not written, as nothing was read"
    Console().print(f"{escape(str(out))}: {told}", highlight=False)
    if failed:
        raise typer.Exit(1)


def _tell(outcome: Outcome, *, new: int) -> None:
    told = "unchanged" if outcome.unchanged else f"{len(outcome.articles)} articles"
    held = f", {outcome.held} more were there" if outcome.held else ""
    dropped = "".join(f", {n} dropped: {why}" for why, n in outcome.dropped.items())
    Console().print(
        f"{escape(outcome.asked)}: {told}, {new} new{held}{escape(dropped)}",
        highlight=False,
        soft_wrap=True,
    )
    if outcome.problem:
        Console(stderr=True).print(
            f"[red]error:[/] {escape(outcome.asked)}: {escape(outcome.problem)}",
            highlight=False,
            soft_wrap=True,
        )
