"""``megatick replay``: play a schedule of calls against a server, and measure it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from megatick_cli.connection import Connection, with_connection
from megatick_contract.admission import Priority

if TYPE_CHECKING:
    from megatick_client.load import Latency, ReplayResult, Schedule
    from megatick_client.requests import Request

ScheduleChoice = Literal["constant", "poisson", "burst", "tape"]
TruncationChoice = Literal["head", "tail", "error"]

_WHEN = "When calls are due"
_WHAT = "What is asked"
_HOW = "How it is sent and judged"


@with_connection
def replay(
    texts: Annotated[
        Path | None,
        typer.Argument(
            help="File of texts (CSV, JSON lines or Parquet with a column 'text', or "
            "plain text, one a line), or a folder of such files.",
            show_default="the tape's own texts",
        ),
    ] = None,
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="gRPC port of a KServe-v2 server.")
    ] = "127.0.0.1:8001",
    schedule: Annotated[
        ScheduleChoice,
        typer.Option(help="How calls are spread over time.", rich_help_panel=_WHEN),
    ] = "poisson",
    rate: Annotated[
        float,
        typer.Option(
            metavar="CALLS/S", help="Mean rate, outside a burst.", rich_help_panel=_WHEN
        ),
    ] = 10.0,
    duration: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How long.", rich_help_panel=_WHEN),
    ] = 30.0,
    burst_rate: Annotated[
        float,
        typer.Option(
            metavar="CALLS/S", help="Mean rate within the burst.", rich_help_panel=_WHEN
        ),
    ] = 100.0,
    burst_start: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="When the burst begins.", rich_help_panel=_WHEN
        ),
    ] = 10.0,
    burst_length: Annotated[
        float,
        typer.Option(metavar="SECONDS", help="How long it lasts.", rich_help_panel=_WHEN),
    ] = 5.0,
    seed: Annotated[
        int,
        typer.Option(help="Of the random gaps; the same plan.", rich_help_panel=_WHEN),
    ] = 0,
    tape: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Recorded rows (CSV, JSON lines, Parquet) with a time column: each is "
            "a call.",
            show_default=False,
            rich_help_panel=_WHEN,
        ),
    ] = None,
    time_column: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="The tape's times: numbers are seconds, text is ISO 8601.",
            rich_help_panel=_WHEN,
        ),
    ] = "time",
    speed: Annotated[
        float,
        typer.Option(
            metavar="FACTOR",
            help="Play the tape so many times as fast.",
            rich_help_panel=_WHEN,
        ),
    ] = 1.0,
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
    truncation: Annotated[
        TruncationChoice,
        typer.Option(
            help="What becomes of a text longer than the model's window.",
            rich_help_panel=_WHAT,
        ),
    ] = "head",
    slo_ms: Annotated[
        float,
        typer.Option(
            metavar="MS",
            help="An answer counts as good within this, from the intended start.",
            rich_help_panel=_HOW,
        ),
    ] = 100.0,
    timeout_ms: Annotated[
        float,
        typer.Option(
            metavar="MS",
            help="Deadline of each call, from its actual send; the server is told it.",
            rich_help_panel=_HOW,
        ),
    ] = 5000.0,
    priority: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="The request parameter 'priority'; 1 is the highest.",
            show_default="the server's",
            rich_help_panel=_HOW,
        ),
    ] = None,
    lane: Annotated[
        Priority,
        typer.Option(
            help="'backfill' lets the live calls of others pass.", rich_help_panel=_HOW
        ),
    ] = "live",
    max_in_flight: Annotated[
        int,
        typer.Option(
            min=1,
            help="Calls that may wait for an answer; one more is counted as not sent.",
            rich_help_panel=_HOW,
        ),
    ] = 10_000,
    connections: Annotated[
        int, typer.Option(min=1, help="TCP connections.", rich_help_panel=_HOW)
    ] = 1,
    references: Annotated[
        int,
        typer.Option(
            min=0,
            help="Calls at most that are asked alone first, to compare answers with.",
            rich_help_panel=_HOW,
        ),
    ] = 100,
    expect: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Compare with these scores instead: columns text, score.",
            show_default=False,
            rich_help_panel=_HOW,
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="How far a score may be from its reference.  In bf16, fp16 and fp8 a "
            "score moves with the batch.",
            show_default="what the server states; 0.001 if it states none",
            rich_help_panel=_HOW,
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Write JSON, CSV a second, HdrHistogram logs and an HTML page.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON instead of tables.")
    ] = False,
    *,
    connection: Connection,
) -> None:
    """Play an open-loop schedule against a server, and measure from intended starts.

    Calls leave when they are due, whether or not earlier ones were answered, and the
    clock of each starts then: a server that stands still makes everybody wait who would
    have called, and the figures say so.

    Exit status: 0 played; 1 it could not begin, nothing was answered, or an answer was
    wrong; 2 bad usage.
    """
    from megatick_client.load import ReplayOptions, ScheduleError
    from megatick_client.load import replay as play
    from megatick_client.load.expected import read_expected

    try:
        plan = _schedule(
            schedule,
            rate=rate,
            duration=duration,
            burst_rate=burst_rate,
            burst_start=burst_start,
            burst_length=burst_length,
            seed=seed,
            tape=tape,
            time_column=time_column,
            speed=speed,
        )
    except ScheduleError as error:
        raise typer.BadParameter(str(error)) from error
    source = texts or tape
    if source is None:
        raise typer.BadParameter("give TEXTS, or a --tape that holds them")
    if texts is None and rows != 1:
        raise typer.BadParameter("a tape's own texts are one a call", param_hint="--rows")
    calls = calls_of(
        source,
        prices,
        text_column=text_column,
        model=model,
        rows=rows,
        truncation=truncation,
        lane=lane,
    )
    options = ReplayOptions(
        timeout_s=timeout_ms / 1e3,
        slo_s=slo_ms / 1e3,
        priority=priority,
        max_in_flight=max_in_flight,
        connections=connections,
        references=references,
        score_tolerance=tolerance,
    )
    expected = None if expect is None else read_expected(expect, calls)
    progress = f"{len(plan):,} calls in {plan.duration_s:g} s …"
    with Console(stderr=True).status(progress):
        result = play(
            plan,
            calls,
            address,
            options=options,
            expected=expected,
            tls=connection.tls,
            headers=connection.headers,
        )
    if out is not None:
        from megatick_client.load.replay_report import write_replay

        files = write_replay(result, out)
    if as_json:
        typer.echo(result.to_json(), nl=False)
    else:
        _print(result)
        if out is not None:
            Console().print(f"Written: {', '.join(map(str, files))}", soft_wrap=True)
    if result.answers.wrong or not result.from_due.count:
        raise typer.Exit(1)


def calls_of(
    texts: Path,
    prices: Path | None,
    *,
    text_column: str,
    model: str | None,
    rows: int,
    truncation: TruncationChoice = "head",
    lane: Priority = "live",
) -> tuple[Request, ...]:
    """Make the calls from the user's files."""
    from megatick_client.load import (
        in_lane,
        market_view_calls,
        read_price_files,
        read_text_files,
        renamed,
        sentiment_calls,
    )

    given = read_text_files(texts, column=text_column)
    if prices is None:
        calls = sentiment_calls(given, rows=rows, truncation=truncation)
    else:
        histories = read_price_files(prices)
        calls = market_view_calls(given, histories, rows=rows, truncation=truncation)
    calls = in_lane(calls, lane)
    return calls if model is None else renamed(calls, model)


def _schedule(
    choice: ScheduleChoice,
    *,
    rate: float,
    duration: float,
    burst_rate: float,
    burst_start: float,
    burst_length: float,
    seed: int,
    tape: Path | None,
    time_column: str,
    speed: float,
) -> Schedule:
    """Make the plan that was chosen."""
    from megatick_client.load import burst, constant, poisson, read_tape

    if (choice == "tape") != (tape is not None):
        raise typer.BadParameter("--schedule tape and --tape FILE go together")
    if tape is not None:
        return read_tape(tape, time_column=time_column, speed=speed)
    if choice == "constant":
        return constant(rate, duration)
    if choice == "poisson":
        return poisson(rate, duration, seed=seed)
    return burst(
        rate,
        duration,
        burst_rate_per_s=burst_rate,
        burst_start_s=burst_start,
        burst_length_s=burst_length,
        seed=seed,
    )


def _print(result: ReplayResult) -> None:
    """Show what a desk asks for first: goodput, both latencies, how calls ended."""
    from megatick_client.load.replay_report import latencies

    console = Console()
    console.print(
        f"[bold]{escape(result.model)}[/] at {escape(result.endpoint)}: "
        f"{escape(result.schedule)}, {result.duration_s:g} s",
        highlight=False,
    )
    slo_ms = result.options.slo_s * 1e3
    console.print(
        f"offered {result.offered_per_s:,.1f}/s, answered {result.answered_per_s:,.1f}/s, "
        f"[bold]goodput {result.goodput_per_s:,.1f}/s[/] ({result.good_share:.2%} within "
        f"{slo_ms:g} ms), most in flight {result.most_in_flight:,}",
        highlight=False,
    )
    table = _table("latency, ms", "calls", "p50", "p90", "p99", "p99.9", "max")
    for name, latency in latencies(result):
        table.add_row(name, f"{latency.count:,}", *_percentiles(latency))
    console.print(table)
    endings = _table("outcome", "calls", "share", "p50 ms", "p99 ms", "max ms")
    for each in result.outcomes:
        share, took = each.calls / len(result.records), each.from_send
        figures = (f"{value:,.1f}" for value in (took.p50_ms, took.p99_ms, took.max_ms))
        endings.add_row(each.name, f"{each.calls:,}", f"{share:.2%}", *figures)
    console.print(endings)
    answers = result.answers
    console.print(
        f"{answers.checked:,} answers checked, {answers.wrong:,} wrong; "
        f"{answers.compared:,} compared with their references: largest |Δ score| "
        f"{answers.max_score_error:.1e}, allowed {result.tolerance}",
        highlight=False,
    )
    for warning in result.warnings:
        console.print(f"[yellow]warning:[/] {escape(warning)}", highlight=False)
    for name, message in result.examples.items():
        console.print(f"[dim]{name}: {escape(message)}[/]", highlight=False)


def _table(first: str, *others: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column(first)
    for name in others:
        table.add_column(name, justify="right")
    return table


def _percentiles(latency: Latency) -> tuple[str, ...]:
    values = (latency.p50_ms, latency.p90_ms, latency.p99_ms, latency.p99_9_ms)
    return tuple(f"{each:,.2f}" for each in (*values, latency.max_ms))
