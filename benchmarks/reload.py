"""What live calls notice while their server loads another export.

    python benchmarks/reload.py REPOSITORY [--seconds 20] [--rounds 3]

Calls of one text leave at a fixed rate, at the times of a Poisson process, and their
latency counts from when they were due.  Meanwhile the server loads its repository again,
once a round, as ``megatick serve`` does on SIGUSR1: the weights are the same, the process
that holds them is a new one.  *During* lasts from the order until every model is loaded.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from open_loop import Called, latencies, offer
from overload import memory_of
from record import write
from rich.console import Console
from rich.table import Table
from subject import Subject, median, read_texts

from megatick_client import AsyncClient
from megatick_client.load import poisson
from megatick_server.launcher import ServeOptions, TritonServer


@dataclass(frozen=True)
class Reload:
    """When one began and ended, on the clock of ``time.perf_counter``."""

    began_s: float
    ended_s: float


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    texts: Annotated[
        Path | None, typer.Option(help="CSV with the column text.", show_default="invented")
    ] = None,
    seconds: Annotated[
        float, typer.Option(min=1, help="Before, between and after.")
    ] = 20.0,
    rounds: Annotated[int, typer.Option(min=1, help="Reloads.")] = 3,
    share: Annotated[float, typer.Option(help="Of the bare engine's rate, offered.")] = 0.2,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
) -> None:
    """Measure failed calls and latencies around reloads, and their memory."""
    subject = Subject.of(repository)
    told = read_texts(texts, 1000)
    rows = subject.rows(told)
    rate = share * subject.warm_rate(rows)
    about = subject.about()
    del subject
    called: list[Called] = []
    over = threading.Event()
    reloads: list[Reload] = []
    options = ServeOptions(grpc_port=0, metrics_port=None)
    with (
        TritonServer(repository, options) as server,
        memory_of(server.pid) as held,
        ThreadPoolExecutor(1) as beside,
    ):
        loaded = held[-1]
        running = beside.submit(load, server.endpoints.grpc, told, rate, over, called)
        try:
            for _ in range(rounds):
                time.sleep(seconds)
                began_s = time.perf_counter()
                server.reload()
                reloads.append(Reload(began_s, time.perf_counter()))
            time.sleep(seconds)
        finally:
            over.set()
        running.result()
    during = [each for each in called if any(touches(each, it) for it in reloads)]
    others = [each for each in called if not any(touches(each, it) for it in reloads)]
    figures: dict[str, Any] = {
        "seconds": seconds,
        "rounds": rounds,
        "rate_per_s": rate,
        "share_of_raw": share,
        "calls": {"else": latencies(others), "during": latencies(during)},
        "reload_s": median([each.ended_s - each.began_s for each in reloads]),
        "memory_first_and_most_mib": [loaded / 2**20, max(held) / 2**20],
        "subject": about,
    }
    table = Table("calls", "", "failed", "p50 ms", "p99 ms")
    for name, it in figures["calls"].items():
        took = (
            "-" if it[each] is None else f"{it[each]:.1f}" for each in ("p50_ms", "p99_ms")
        )
        table.add_row(name, str(it["calls"]), str(it["failed"]), *took)
    console = Console()
    console.print(table)
    console.print(f"a reload takes {figures['reload_s']:.1f} s")
    console.print(f"wrote {write('reload', figures, out=out)}")


def load(
    address: str,
    texts: Sequence[str],
    rate: float,
    over: threading.Event,
    called: list[Called],
) -> None:
    """Make calls until it is over."""

    async def run() -> None:
        async with AsyncClient(address, timeout_s=30) as client:
            await client.warm_up()
            begin_s, hours = time.perf_counter(), poisson(rate, 3600, seed=0).starts_s
            due_s = (begin_s + float(each) for each in hours)
            told = itertools.cycle(texts)
            await offer(
                lambda: client.score(next(told)),
                itertools.takewhile(lambda _: not over.is_set(), due_s),
                called,
            )

    asyncio.run(run())


def touches(call: Called, reload: Reload) -> bool:
    """Tell whether any of a call lies within a reload."""
    return call.due_s <= reload.ended_s and call.due_s + call.took_s >= reload.began_s


if __name__ == "__main__":
    typer.run(main)
