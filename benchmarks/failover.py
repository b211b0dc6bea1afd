"""What callers notice when one of two servers is killed, and comes back.

    python benchmarks/failover.py [--rate 200] [--seconds 10]

Two real Tritons serve a ``sentiment`` that answers at once.  While calls leave at a steady
rate, one server gets SIGKILL, and is started again on its port.  *Before* ends with the
kill, *during* with the first answer of the restarted server.
"""

from __future__ import annotations

import asyncio
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from instant import instant
from open_loop import Called, latencies, offer, offer_by_threads
from record import write
from rich.console import Console
from rich.table import Table

from megatick_client import AsyncClient, Client
from megatick_server.launcher import ServeOptions, TritonServer

TEXT: Final = "Chipmaker raises its full-year guidance after a strong quarter"
_THREADS: Final = 64
_PATIENCE_S: Final = 60.0
_POLL_S: Final = 0.005

Load = Callable[[Sequence[str], Iterator[float], list[Called], float], None]
"""Makes calls: to whom, when they are due, what becomes of them, each one's timeout."""


def main(
    rate: Annotated[float, typer.Option(min=1, help="Calls a second.")] = 200.0,
    seconds: Annotated[
        float, typer.Option(min=1, help="Before the kill, and after.")
    ] = 10.0,
    down: Annotated[
        float, typer.Option(min=0, help="Seconds until it is restarted.")
    ] = 3.0,
    timeout: Annotated[float, typer.Option(help="Of each call, in seconds.")] = 2.0,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
) -> None:
    """Measure failed calls, latencies and the return, for both clients."""
    loads: dict[str, Load] = {"Client": by_threads, "AsyncClient": by_tasks}
    figures: dict[str, Any] = {
        **{"rate_per_s": rate, "seconds": seconds, "down_s": down, "timeout_s": timeout},
        "clients": {
            name: survive(load, rate, seconds, down, timeout)
            for name, load in loads.items()
        },
    }
    table = Table("", "", "calls", "failed", "p50 ms", "p99 ms")
    console = Console()
    for name, found in figures["clients"].items():
        for phase, told in found["phases"].items():
            milliseconds = (
                "-" if told[each] is None else f"{told[each]:.2f}"
                for each in ("p50_ms", "p99_ms")
            )
            table.add_row(
                name, phase, str(told["calls"]), str(told["failed"]), *milliseconds
            )
        console.print(
            f"{name}: {found['failed']} of {found['calls']} calls failed; the restarted "
            f"server answered {found['back_after_ready_s']:.2f} s after it was ready"
        )
    console.print(table)
    console.print(f"wrote {write('failover', figures, out=out)}")


def survive(
    load: Load, rate: float, seconds: float, down: float, timeout_s: float
) -> dict[str, Any]:
    """Kill and restart one of two servers under a load."""
    options = ServeOptions(grpc_port=0, metrics_port=None)
    called: list[Called] = []
    over = threading.Event()
    with tempfile.TemporaryDirectory() as folder:
        repository = instant(Path(folder))
        with (
            TritonServer(repository, options) as staying,
            ThreadPoolExecutor(1) as beside,
        ):
            with TritonServer(repository, options) as leaving:
                address = leaving.endpoints.grpc
                running = beside.submit(
                    load,
                    (staying.endpoints.grpc, address),
                    steady(rate, over),
                    called,
                    timeout_s,
                )
                try:
                    time.sleep(seconds)
                    killed_s = time.perf_counter()
                    leaving.kill()
                except BaseException:
                    over.set()
                    raise
            try:
                time.sleep(max(0.0, killed_s + down - time.perf_counter()))
                port = int(address.rpartition(":")[2])
                with TritonServer(repository, replace(options, grpc_port=port)):
                    ready_s = time.perf_counter()
                    back_s = first_answer_of(address, called, since_s=ready_s)
                    time.sleep(seconds)
                    over.set()
                    running.result()
            finally:
                over.set()
    return {
        "calls": len(called),
        "failed": sum(bool(each.error) for each in called),
        "errors": Counter(each.error for each in called if each.error),
        "phases": {
            name: latencies(each) for name, each in phases(called, killed_s, back_s).items()
        },
        "ready_after_kill_s": ready_s - killed_s,
        "back_after_ready_s": back_s - ready_s,
    }


def by_threads(
    addresses: Sequence[str], due_s: Iterator[float], called: list[Called], timeout_s: float
) -> None:
    """Load with ``Client``."""
    with Client(addresses, timeout_s=timeout_s) as client:
        offer_by_threads(lambda: client.score(TEXT), due_s, called, threads=_THREADS)


def by_tasks(
    addresses: Sequence[str], due_s: Iterator[float], called: list[Called], timeout_s: float
) -> None:
    """Load with ``AsyncClient``."""

    async def run() -> None:
        async with AsyncClient(addresses, timeout_s=timeout_s) as client:
            await offer(lambda: client.score(TEXT), due_s, called)

    asyncio.run(run())


def steady(rate: float, over: threading.Event) -> Iterator[float]:
    """When calls are due, on the clock of ``time.perf_counter``, until it is over."""
    due_s = time.perf_counter()
    while not over.is_set():
        yield due_s
        due_s += 1 / rate


def first_answer_of(address: str, called: list[Called], *, since_s: float) -> float:
    """Wait for a server's first answer that ends after a time; returns when it ended."""
    seen, deadline_s = 0, time.perf_counter() + _PATIENCE_S
    while time.perf_counter() < deadline_s:
        for each in called[seen:]:
            seen += 1
            done_s = each.due_s + each.took_s
            if each.address == address and done_s >= since_s:
                return done_s
        time.sleep(_POLL_S)
    raise TimeoutError(
        f"{address}: expected calls again once it was ready, found none for "
        f"{_PATIENCE_S:g} s"
    )


def phases(
    called: Sequence[Called], killed_s: float, back_s: float
) -> dict[str, list[Called]]:
    """Sort calls by when they were due; one that was in flight at the kill is *during*."""
    sorted_in: dict[str, list[Called]] = {"before": [], "during": [], "after": []}
    for each in called:
        if each.due_s + each.took_s < killed_s:
            sorted_in["before"].append(each)
        elif each.due_s < back_s:
            sorted_in["during"].append(each)
        else:
            sorted_in["after"].append(each)
    return sorted_in


if __name__ == "__main__":
    typer.run(main)
