"""``megatick evaluate-stocknet``: a forecaster by the StockNet protocol."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from megatick_cli.bar_closes import MIDNIGHT, CloseTime, clock, closed_at, left_out
from megatick_cli.frames import finite, print_frame


def evaluate_stocknet(
    prices: Annotated[
        Path,
        typer.Option(help="Its prices as one long table: ticker, date, close, adj_close."),
    ],
    forecaster: Annotated[Path, typer.Option(help="What `megatick fit-forecaster` wrote.")],
    news: Annotated[
        Path | None,
        typer.Option(
            help="Its tweets, scored (ticker, published_at with its zone, score), as "
            "`megatick batch` writes them."
        ),
    ] = None,
    close_time: CloseTime = MIDNIGHT,
    part: Annotated[
        Literal["dev", "test"], typer.Option(help="Which of its days to judge.")
    ] = "dev",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Judge up or down by the StockNet protocol, with and without its filter of labels.

    Beside the forecaster stand calling every day up, and logistic regressions that are
    fitted on the protocol's own training days.

    Exit status: 0 judged; 1 failed (one message on stderr says why); 2 bad usage.
    """
    from megatick_server.forecast import load_forecaster
    from megatick_training.evaluation.stocknet import judge_stocknet, scores_table
    from megatick_training.forecasting.news import read_news
    from megatick_training.forecasting.windows import make_windows
    from megatick_training.prices import read_closes

    closes_at = clock(close_time)
    judged = load_forecaster(forecaster)
    closes = closed_at(read_closes(prices), closes_at)
    stories = None if news is None else read_news(news)
    notices = left_out(closes, stories, news_file=news)
    windows = make_windows(closes, news=stories, half_life_s=judged.half_life_s)
    scores = judge_stocknet(judged, windows, part=part, news=news is not None)
    for notice in notices:
        Console(stderr=True).print(notice, highlight=False)
    if as_json:
        typer.echo(json.dumps(finite([asdict(each) for each in scores]), indent=2))
    else:
        print_frame(f"StockNet, {part} days", scores_table(scores))
