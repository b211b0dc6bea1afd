"""What live calls notice of a backfill that saturates the server.

    python benchmarks/priorities.py REPOSITORY [--seconds 15] [--rounds 2]

Live calls of one text leave at a fixed rate, at the times of a Poisson process, and their
latency counts from when they were due.  Rounds without and with a backfill take turns: as
many calls of as many rows as ``megatick batch`` keeps in flight, each sent when another is
answered.  Both lanes are calls of one ``AsyncClient``.
"""

from __future__ import annotations

import asyncio
import itertools
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from open_loop import Called, latencies, offer
from record import write
from rich.console import Console
from rich.table import Table
from subject import Subject, median, read_texts

from megatick_client import AsyncClient
from megatick_client.load import poisson
from megatick_client.load.sender import run
from megatick_contract.models import ROWS_PER_REQUEST
from megatick_server.launcher import ServeOptions, TritonServer

_PATIENT_S: Final = 120.0
_RAMP_S: Final = 1.0
"""From a backfill's first calls to the first live call beside it."""


@dataclass(frozen=True)
class Round:
    """Live calls, and what ran beside them.

    Attributes:
        called: the live calls.
        backfill_per_s: rows that the backfill was answered meanwhile.
    """

    called: list[Called]
    backfill_per_s: float


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    texts: Annotated[
        Path | None, typer.Option(help="CSV with the column text.", show_default="invented")
    ] = None,
    seconds: Annotated[float, typer.Option(min=1, help="Of each round.")] = 15.0,
    rounds: Annotated[int, typer.Option(min=1, help="Without and with a backfill.")] = 2,
    share: Annotated[
        float, typer.Option(help="Of the bare engine's rate, offered live.")
    ] = 0.2,
    in_flight: Annotated[int, typer.Option(min=1, help="Backfill calls.")] = 8,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
) -> None:
    """Measure live p50 and p99 alone and beside a backfill."""
    subject = Subject.of(repository)
    told = read_texts(texts, 1000)
    rows = subject.rows(told)
    raw_per_s = subject.warm_rate(rows)
    about = subject.about()
    del subject
    rate = share * raw_per_s
    with TritonServer(repository, ServeOptions(grpc_port=0, metrics_port=None)) as server:
        address = server.endpoints.grpc
        alone, beside = run(take_turns(address, told, rate, seconds, rounds, in_flight))
    live = {
        name: latencies([each for one in found for each in one.called])
        for name, found in (("alone", alone), ("beside_backfill", beside))
    }
    figures: dict[str, Any] = {
        "seconds": seconds,
        "rounds": rounds,
        "raw_per_s": raw_per_s,
        "live_per_s": rate,
        "live_share_of_raw": share,
        "backfill_calls_in_flight": in_flight,
        "rows_per_backfill_call": ROWS_PER_REQUEST,
        "backfill_per_s": median([each.backfill_per_s for each in beside]),
        "live": live,
        "beside_over_alone": {
            each: ratio(live["beside_backfill"][each], live["alone"][each])
            for each in ("p50_ms", "p99_ms")
        },
        "subject": about,
    }
    table = Table("live calls", "calls", "failed", "p50 ms", "p99 ms")
    for name, it in live.items():
        took = (
            "-" if it[each] is None else f"{it[each]:.1f}" for each in ("p50_ms", "p99_ms")
        )
        table.add_row(name, str(it["calls"]), str(it["failed"]), *took)
    console = Console()
    console.print(table)
    console.print(f"beside over alone: {figures['beside_over_alone']}")
    console.print(f"backfill: {figures['backfill_per_s']:.1f} rows/s beside them")
    console.print(f"wrote {write('priorities', figures, out=out)}")


def ratio(over: float | None, under: float | None) -> float | None:
    """Divide two latencies; None where nothing was answered."""
    return None if over is None or under is None else over / under


async def take_turns(
    address: str,
    texts: Sequence[str],
    rate: float,
    seconds: float,
    rounds: int,
    in_flight: int,
) -> tuple[list[Round], list[Round]]:
    """Let live calls run alone, then beside a backfill, and so on."""
    alone: list[Round] = []
    beside: list[Round] = []
    async with AsyncClient(address, timeout_s=_PATIENT_S) as client:
        await client.warm_up()
        for number in range(rounds):
            for found, calls in ((alone, 0), (beside, in_flight)):
                starts_s = poisson(rate, seconds, seed=number).starts_s.tolist()
                found.append(await one_round(client, texts, starts_s, calls))
    return alone, beside


async def one_round(
    client: AsyncClient, texts: Sequence[str], starts_s: Sequence[float], in_flight: int
) -> Round:
    """Make live calls beside so many of a backfill, which ends with the last of them."""
    told = itertools.cycle(texts)
    answered = 0
    over = False

    async def backfill() -> None:
        nonlocal answered
        while not over:
            chunk = list(itertools.islice(told, ROWS_PER_REQUEST))
            await client.score(chunk, priority="backfill")
            answered += len(chunk)

    called: list[Called] = []
    async with asyncio.TaskGroup() as tasks:
        for _ in range(in_flight):
            tasks.create_task(backfill())
        await asyncio.sleep(_RAMP_S)
        begin_s, before = time.perf_counter(), answered
        due_s = (begin_s + each for each in starts_s)
        await offer(lambda: client.score(next(told)), due_s, called)
        per_s = (answered - before) / (time.perf_counter() - begin_s)
        over = True
    return Round(called, per_s)


if __name__ == "__main__":
    typer.run(main)
