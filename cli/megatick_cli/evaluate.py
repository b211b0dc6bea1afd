"""``megatick evaluate``: is a forecaster any better than a random walk?"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console
from rich.markup import escape

from megatick_cli.bar_closes import (
    MIDNIGHT,
    CloseTime,
    clock,
    closed_at,
    left_out,
    named,
    unheard,
)
from megatick_cli.frames import finite, print_frame
from megatick_cli.out_file import require_folder

if TYPE_CHECKING:
    import pandas as pd

    from megatick_training.evaluation.ablations import Ablations
    from megatick_training.evaluation.forecaster_judgement import AtHorizon, Invested
    from megatick_training.forecasting.news import News
    from megatick_training.forecasting.windows import Windows

_HOW = "How it is judged"
_RULE = "The investment rule"


def evaluate(
    prices: Annotated[
        Path,
        typer.Option(
            help="Closes: CSV, JSON lines (also .gz, .zst) or Parquet; long (symbol, date, "
            "close, perhaps adj_close) or wide (date, a column a symbol)."
        ),
    ],
    forecaster: Annotated[Path, typer.Option(help="What `megatick fit-forecaster` wrote.")],
    out: Annotated[Path, typer.Option(help="Report to write (HTML).")],
    news: Annotated[
        Path | None,
        typer.Option(help="Scored texts (symbol, published_at with its zone, score)."),
    ] = None,
    close_time: CloseTime = MIDNIGHT,
    symbols: Annotated[
        str | None, typer.Option(metavar="A,B,…", help="Only these symbols.")
    ] = None,
    since: Annotated[
        datetime | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            formats=["%Y-%m-%d"],
            help="First day to judge, UTC.",
            show_default="after what it was fitted on, where the file says",
            rich_help_panel=_HOW,
        ),
    ] = None,
    until: Annotated[
        datetime | None,
        typer.Option(
            metavar="YYYY-MM-DD",
            formats=["%Y-%m-%d"],
            help="Last day to forecast on, UTC.",
            show_default="the last",
            rich_help_panel=_HOW,
        ),
    ] = None,
    embargo_bars: Annotated[
        int,
        typer.Option(
            min=0,
            help="Bars left out after the last that it was fitted on.",
            rich_help_panel=_HOW,
        ),
    ] = 20,
    allow_fitted_dates: Annotated[
        bool,
        typer.Option(
            "--allow-fitted-dates",
            help="Judge dates that it was fitted on too; the report says so.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    auto_ets_rows: Annotated[
        int,
        typer.Option(
            min=0,
            help="Forecasts to compare with AutoETS, which is fitted to each; 0 for none.",
            rich_help_panel=_HOW,
        ),
    ] = 2000,
    ablations: Annotated[
        bool,
        typer.Option(
            "--ablations",
            help="Refit its family without sentiment, without volatility, and with range "
            "and volume where the price file has open, high, low, close and volume.",
            rich_help_panel=_HOW,
        ),
    ] = False,
    threshold: Annotated[
        float,
        typer.Option(
            min=0,
            max=0.5,
            help="Long where P(up) exceeds one half by more.",
            rich_help_panel=_RULE,
        ),
    ] = 0.0,
    below: Annotated[
        Literal["flat", "short"],
        typer.Option(
            help="What to be where it falls short by more.", rich_help_panel=_RULE
        ),
    ] = "flat",
    cost_bps: Annotated[
        float,
        typer.Option(
            min=0, help="Cost of trading, 1/10,000 of its value.", rich_help_panel=_RULE
        ),
    ] = 10.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge a forecaster on dates after those it was fitted on, beside its competitors.

    It forecasts every symbol and bar through the server's own code.  Judged are the
    price, the distribution, its intervals, the direction, and what a simple rule would
    have earned; against the random walk, drift, AutoETS, and itself without the news.
    Inputs that see the future, and skill at shuffled outcomes, end the judgement.

    Exit status: 0 judged, well or badly; 1 it could not be, or would not be fair (one
    message on stderr says why); 2 bad usage.
    """
    from megatick_server.forecast import load_forecaster
    from megatick_training.evaluation.ablations import ablate
    from megatick_training.evaluation.forecaster_judgement import (
        judge_forecaster,
        judge_investment,
    )
    from megatick_training.evaluation.forecaster_page import sections
    from megatick_training.evaluation.investment import Rule
    from megatick_training.evaluation.judged_rows import describe, rows_to_judge
    from megatick_training.evaluation.leakage import refuse_look_ahead
    from megatick_training.forecasting.bar_length import unlike_bars
    from megatick_training.forecasting.news import read_news
    from megatick_training.forecasting.windows import make_windows
    from megatick_training.prices import read_prices
    from megatick_training.reports import write_report

    require_folder(out)
    console = Console(stderr=True)
    closes_at = clock(close_time)
    with console.status("reading …") as status:
        judged_one = load_forecaster(forecaster)
        table = read_prices(prices, symbols=named(symbols))
        closes = closed_at(table.closes, closes_at)
        stories = None if news is None else read_news(news)
        notices = left_out(closes, stories, news_file=news)
        unlike = unlike_bars(closes, bar_s=judged_one.bar_s)
        if unlike:
            notices.append(unlike)

        def make(of: pd.DataFrame, told: News | None) -> Windows:
            return make_windows(of, news=told, half_life_s=judged_one.half_life_s)

        status.update("changing the future …")
        refuse_look_ahead(make, closes, stories)
        every = make(closes, stories)
        rows = rows_to_judge(
            every,
            judged_one,
            since=since,
            until=until,
            embargo_bars=embargo_bars,
            allow_fitted=allow_fitted_dates,
        )
        notices += unheard(rows, stories)
        status.update("forecasting …")
        said = judged_one.forecast(rows.closes, rows.state, rows.elapsed_s)
        horizons = judge_forecaster(
            judged_one,
            rows,
            said,
            auto_ets_rows=auto_ets_rows,
            progress=lambda doing: status.update(f"{doing} …"),
        )
        invested = judge_investment(
            said, rows, Rule(threshold=threshold, below=below, cost_bps=cost_bps)
        )
        refitted = None
        if ablations:
            refitted = ablate(
                judged_one,
                every,
                rows,
                closes=closes,
                bars={
                    name: closed_at(each, closes_at) for name, each in table.bars.items()
                },
                embargo_bars=embargo_bars,
                progress=lambda doing: status.update(f"{doing} …"),
            )
    data = {"prices": prices, "forecaster": forecaster}
    if news is not None:
        data["news"] = news
    write_report(
        out,
        title=f"How good is {forecaster.name}?",
        command=("megatick", *sys.argv[1:]),
        data=data,
        sections=sections(
            horizons,
            invested,
            judged=describe(rows, judged_one, allow_fitted=allow_fitted_dates),
            ablations=refitted,
        ),
    )
    for notice in [*notices, *(refitted.notices if refitted else ())]:
        console.print(notice, highlight=False)
    if as_json:
        typer.echo(_json(horizons, invested, refitted))
        return
    _print(horizons, invested, refitted)
    console.print(f"[green]✓[/] {escape(str(out))}", highlight=False, soft_wrap=True)


def _json(
    horizons: tuple[AtHorizon, ...], invested: Invested, ablations: Ablations | None
) -> str:
    """All figures; one that does not exist is null."""
    document: dict[str, object] = {
        "horizons": [asdict(each) for each in horizons],
        "invested": asdict(invested),
    }
    if ablations is not None:
        document["ablations"] = asdict(ablations)
    return json.dumps(finite(document), indent=2)


def _print(
    horizons: tuple[AtHorizon, ...], invested: Invested, ablations: Ablations | None
) -> None:
    from megatick_training.evaluation.forecaster_page import (
        ablations_table,
        coverage_table,
        direction_table,
        investment_table,
        versus_table,
    )

    print_frame("Against its competitors (losses in 1/10,000)", versus_table(horizons))
    print_frame("Coverage, %", coverage_table(horizons))
    print_frame("Direction", direction_table(horizons))
    print_frame("Investment (95 % intervals)", investment_table(invested))
    if ablations is not None:
        print_frame("Ablations (losses in 1/10,000)", ablations_table(ablations))
