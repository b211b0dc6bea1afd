"""``megatick fit-forecaster``: price histories into a forecaster that the server loads."""

from __future__ import annotations

import sys
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeRemainingColumn,
)

from megatick_cli.bar_closes import (
    MIDNIGHT,
    clock,
    close_time_option,
    closed_at,
    left_out,
    named,
    unheard,
)
from megatick_cli.frames import print_frame
from megatick_cli.out_file import require_folder
from megatick_contract.files import whole

if TYPE_CHECKING:
    import pandas as pd

    from megatick_training.forecasting import Fitted, Periods, Windows
    from megatick_training.forecasting.candidates import Candidate

SourceChoice = Literal["finance-datareader", "pandas-datareader"]
_DAY = "%Y-%m-%d"

_WHAT = "What it is fitted on"
_HOW = "How it is judged"

CANDIDATES = (
    "random walk",
    "with drift",
    "scale: volatility",
    "scale: past moves",
    "scale: past moves, leverage",
    "scale: past moves, leverage, with drift",
    "scale: past moves, leverage, location: momentum",
    "scale: leverage, news",
    "scale: leverage, news, location: news",
)
"""Names for ``--help``, which does not wait for scikit-learn; a test compares them."""


def fit_forecaster(
    out: Annotated[
        Path,
        typer.Option(
            help="Forecaster to write (JSON); its report stands beside it, as .report.html."
        ),
    ],
    prices: Annotated[
        Path | None,
        typer.Option(
            help="Closes: CSV, JSON lines (also .gz, .zst) or Parquet; long (symbol, date, "
            "close, perhaps adj_close) or wide (date, a column a symbol).  Or --source.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    source: Annotated[
        SourceChoice | None,
        typer.Option(
            help="Fetch daily closes with this library instead (pandas-datareader: series "
            "of FRED); they are kept beside --out, as .prices.csv.gz.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    symbols: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,…",
            help="Only these symbols; needed with --source.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    start: Annotated[
        datetime | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            formats=[_DAY],
            help="First day, UTC.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    end: Annotated[
        datetime | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            formats=[_DAY],
            help="Last day, UTC.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    news: Annotated[
        Path | None,
        typer.Option(
            help="Scored texts (symbol, published_at with its zone, score), such as "
            "`megatick batch` writes.",
            rich_help_panel=_WHAT,
        ),
    ] = None,
    close_time: Annotated[str, close_time_option(_WHAT)] = MIDNIGHT,
    train_until: Annotated[
        datetime | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            formats=[_DAY],
            help="Last day to fit on.",
            show_default="60 % of the bars",
            rich_help_panel=_HOW,
        ),
    ] = None,
    calibrate_until: Annotated[
        datetime | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            formats=[_DAY],
            help="Last day to calibrate on; what is later is judged.",
            show_default="80 % of the bars",
            rich_help_panel=_HOW,
        ),
    ] = None,
    hold_out_symbols: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.9,
            help="Share of the symbols that are only judged.",
            rich_help_panel=_HOW,
        ),
    ] = 0.2,
    seed: Annotated[
        int, typer.Option(help="Of the draw of those symbols.", rich_help_panel=_HOW)
    ] = 0,
    candidate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="[BARS=]NAME",
            help="Take this candidate, and not the chosen one: at the horizon of so many "
            "bars, or at each that no other names.  Repeatable.  NAME is one of: "
            + "; ".join(map(repr, CANDIDATES))
            + ".",
            show_default="chosen",
            rich_help_panel=_HOW,
        ),
    ] = None,
) -> None:
    """Fit the distribution of the log return at 1, 5 and 20 bars, and judge it.

    Candidates compete walking forward through the time that is fitted on; the winner's
    intervals are made conformal on later moves, and it is judged against the random walk
    on moves that are later still, some of symbols never seen.  It claims an edge only
    where it is better at p ≤ 0.05.  Serve it with `megatick export --forecaster FILE`.

    Exit status: 0 written, with an edge or without; 1 failed, and nothing is written (one
    message on stderr says why); 2 bad usage.
    """
    from megatick_training.forecasting import (
        HALF_LIFE_S,
        make_periods,
        make_windows,
        read_news,
    )
    from megatick_training.forecasting.page import sections
    from megatick_training.reports import write_report

    require_folder(out)
    console = Console()
    forced = _forced(candidate or [], news=news is not None)
    closes_at = clock(close_time)
    with console.status("reading …"):
        closes, files = _closes(prices, source, symbols, start, end, out)
        closes = closed_at(closes, closes_at)
        story = None if news is None else read_news(news)
        notices = left_out(closes, story, news_file=news)
        windows = make_windows(closes, news=story, half_life_s=HALF_LIFE_S)
        notices += unheard(windows, story)
    periods = make_periods(
        windows,
        train_until=_day(train_until),
        calibrate_until=_day(calibrate_until),
        hold_out_symbols=hold_out_symbols,
        seed=seed,
    )
    if news is not None:
        files["news"] = news
    fitted = _fit_with_bar(windows, periods, files, news=news is not None, forced=forced)
    report = out.with_suffix(".report.html")
    write_report(
        report,
        title="Forecaster",
        command=("megatick", *sys.argv[1:]),
        data=files,
        sections=sections(fitted),
    )
    with whole(out) as unfinished:
        unfinished.write_text(fitted.forecaster.model_dump_json(indent=2) + "\n")
    _print(fitted)
    for notice in notices:
        console.print(notice, highlight=False)
    console.print(
        f"[green]✓[/] {escape(str(out))}  [dim]report: {escape(str(report))}[/]",
        highlight=False,
        soft_wrap=True,
    )


def _closes(
    prices: Path | None,
    source: SourceChoice | None,
    symbols: str | None,
    start: datetime | None,
    end: datetime | None,
    out: Path,
) -> tuple[pd.DataFrame, dict[str, Path]]:
    """The closes asked for, and the file that holds them."""
    from megatick_training.prices import read_closes

    names = named(symbols or None)
    if (prices is None) == (source is None):
        raise typer.BadParameter("give --prices FILE or --source LIBRARY, one of them")
    if prices is not None:
        file = prices
        closes = read_closes(prices, symbols=names)
    else:
        file = out.with_suffix(".prices.csv.gz")
        closes = _fetched(names, source, start, end, file)
    first = None if start is None else start.strftime(_DAY)
    last = None if end is None else end.strftime(_DAY)
    return closes.loc[first:last], {"prices": file}


def _fetched(
    names: list[str],
    source: SourceChoice | None,
    start: datetime | None,
    end: datetime | None,
    file: Path,
) -> pd.DataFrame:
    from megatick_training.fetched_prices import fetch_prices

    if source is None or not names or start is None or end is None:
        raise typer.BadParameter(
            "give --symbols, --start and --end as well", param_hint="--source"
        )
    fetched = fetch_prices(
        names, source=source, start=start.strftime(_DAY), end=end.strftime(_DAY)
    )
    with whole(file) as unfinished:
        fetched.to_csv(unfinished, compression="gzip")
    return fetched


def _forced(asked: list[str], *, news: bool) -> dict[int, Candidate]:
    from megatick_training.errors import CandidateError
    from megatick_training.forecasting import forced_candidates

    try:
        return forced_candidates(asked, news=news)
    except CandidateError as error:
        raise typer.BadParameter(str(error), param_hint="--candidate") from error


def _day(given: datetime | None) -> pd.Timestamp | None:
    import pandas as pd

    return None if given is None else pd.Timestamp(given)


def _fit_with_bar(
    windows: Windows,
    periods: Periods,
    files: dict[str, Path],
    *,
    news: bool,
    forced: dict[int, Candidate],
) -> Fitted:
    from megatick_training.forecasting import fit_forecaster

    console = Console(stderr=True)
    columns = (
        TextColumn("walking candidates forward"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    with Progress(
        *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)
        return fit_forecaster(
            windows,
            periods,
            source=", ".join(file.name for file in files.values()),
            news=news,
            forced=forced,
            progress=lambda done, total: bar.update(task, completed=done, total=total),
        )


def _print(fitted: Fitted) -> None:
    from megatick_training.forecasting.page import (
        candidates_table,
        coverage_table,
        edge_table,
    )

    judged = fitted.judged
    print_frame(
        "Loss saved against the random walk, walking forward (* chosen)",
        candidates_table(fitted),
    )
    print_frame(
        "Later moves inside the intervals (the random walk's)", coverage_table(judged)
    )
    print_frame("Later moves, against the random walk", edge_table(judged))
