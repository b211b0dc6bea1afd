"""What the SDK costs over bare tritonclient: CPU a call, latency, calls a second.

    python benchmarks/client_calls.py [--rounds 12] [--calls 400]

The real Triton serves a ``sentiment`` that answers at once, so that what is measured is the
client.  All take turns in short blocks of one text a call, by calls and over streams: one
call at a time, then many in flight.  Each figure is the median over the rounds, and each
ratio the median of the rounds' own ratios, so that a noisy machine is noisy for both sides
of it.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio
import typer
from bare_calls import (
    TEXT,
    TIMEOUT_S,
    arguments,
    stream,
    stream_aio,
    stream_ours,
    values_of,
)
from instant import instant
from record import write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from subject import median

from megatick_client import AsyncClient, Client
from megatick_server.launcher import ServeOptions, TritonServer

PAIRS: Final = (
    ("Client", "tritonclient"),
    ("AsyncClient", "tritonclient.aio"),
    ("AsyncClient.stream", "tritonclient stream"),
    ("AsyncClient.stream", "tritonclient.aio stream"),
)
"""Whose figures are divided by whose."""


@dataclass(frozen=True)
class Block:
    """A block of calls.

    Attributes:
        cpu_us: of this process, a call.
        calls_per_s: what it says.
        took_s: each call's seconds.
    """

    cpu_us: float
    calls_per_s: float
    took_s: list[float]


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Blocks of each kind.")] = 12,
    calls: Annotated[int, typer.Option(min=1, help="Of each block.")] = 400,
    in_flight: Annotated[int, typer.Option(min=1, help="In the second half.")] = 16,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
) -> None:
    """Measure both clients of the SDK beside both of tritonclient."""
    with tempfile.TemporaryDirectory() as folder:
        options = ServeOptions(grpc_port=0, metrics_port=None)
        with TritonServer(instant(Path(folder)), options) as server:
            address = server.endpoints.grpc
            blocks = asyncio.run(measure(address, rounds, calls, in_flight))
    figures: dict[str, Any] = {"rounds": rounds, "calls": calls, "in_flight": in_flight}
    table = Table("", "in flight", "CPU a call, us", "p50 ms", "p99 ms", "calls/s")
    for (who, flight), found in blocks.items():
        took_ms = 1e3 * np.concatenate([block.took_s for block in found])
        figures[f"{who}, {flight} in flight"] = figure = {
            "cpu_us": median([block.cpu_us for block in found]),
            "p50_ms": float(np.percentile(took_ms, 50)),
            "p99_ms": float(np.percentile(took_ms, 99)),
            "calls_per_s": median([block.calls_per_s for block in found]),
        }
        table.add_row(who, str(flight), *(f"{value:.2f}" for value in figure.values()))
    console = Console()
    console.print(table)
    for ours, theirs in PAIRS:
        for flight in (1, in_flight):
            pairs = list(zip(blocks[ours, flight], blocks[theirs, flight], strict=True))
            cpu = median([a.cpu_us / b.cpu_us for a, b in pairs])
            speed = median([a.calls_per_s / b.calls_per_s for a, b in pairs])
            name = f"{ours} over {theirs}, {flight} in flight"
            figures[name] = {"cpu": cpu, "calls_per_s": speed}
            console.print(f"{name}: CPU a call x {cpu:.3f}, calls a second x {speed:.3f}")
    console.print(f"wrote {write('client_calls', figures, out=out)}")


async def measure(
    address: str, rounds: int, calls: int, in_flight: int
) -> dict[tuple[str, int], list[Block]]:
    """Let all of them take turns."""
    found: dict[tuple[str, int], list[Block]] = {}
    with (
        triton.InferenceServerClient(address) as bare,
        Client(address, timeout_s=TIMEOUT_S) as client,
        ThreadPoolExecutor(in_flight) as threads,
    ):
        async with (
            triton_aio.InferenceServerClient(address) as bare_aio,
            AsyncClient(address, timeout_s=TIMEOUT_S) as client_aio,
        ):

            async def await_bare() -> None:
                values_of(await bare_aio.infer("sentiment", **timed()))

            async def stream_bare(calls: int, flight: int) -> list[float]:
                return stream(bare, calls, flight)

            async def await_ours() -> None:
                await client_aio.score(TEXT)

            waiting: dict[str, Callable[[], object]] = {
                "tritonclient": lambda: values_of(bare.infer("sentiment", **timed())),
                "Client": lambda: client.score(TEXT),
            }
            awaiting: dict[str, Callable[[], Awaitable[None]]] = {
                "tritonclient.aio": await_bare,
                "AsyncClient": await_ours,
            }
            streams: dict[str, Callable[[int, int], Awaitable[list[float]]]] = {
                "tritonclient stream": stream_bare,
                "tritonclient.aio stream": partial(stream_aio, bare_aio),
                "AsyncClient.stream": partial(stream_ours, client_aio),
            }
            for number in track(range(rounds + 1), transient=True):
                for flight in (1, in_flight):
                    # Who begins alternates; the first round warms up and is not counted.
                    for who in sorted(waiting, reverse=bool(number % 2)):
                        block = wait(waiting[who], calls, flight, threads)
                        found.setdefault((who, flight), []).append(block)
                    for who in sorted(awaiting, reverse=bool(number % 2)):
                        block = await wait_in_tasks(awaiting[who], calls, flight)
                        found.setdefault((who, flight), []).append(block)
                    for who in sorted(streams, reverse=bool(number % 2)):
                        block = await wait_for_stream(streams[who], calls, flight)
                        found.setdefault((who, flight), []).append(block)
    return {key: blocks[1:] for key, blocks in found.items()}


def wait(
    call: Callable[[], object], calls: int, in_flight: int, threads: ThreadPoolExecutor
) -> Block:
    """Make a block of calls, by as many threads as are in flight."""

    def one(_: int) -> float:
        begin_s = time.perf_counter()
        call()
        return time.perf_counter() - begin_s

    begin_s, cpu_s = time.perf_counter(), time.process_time()
    if in_flight == 1:
        took_s = [one(number) for number in range(calls)]
    else:
        took_s = list(threads.map(one, range(calls)))
    return _block(begin_s, cpu_s, took_s)


async def wait_in_tasks(
    call: Callable[[], Awaitable[None]], calls: int, in_flight: int
) -> Block:
    """Make a block of calls, by as many tasks as are in flight."""
    took_s: list[float] = []
    left = iter(range(calls))

    async def worker() -> None:
        for _ in left:
            begin_s = time.perf_counter()
            await call()
            took_s.append(time.perf_counter() - begin_s)

    begin_s, cpu_s = time.perf_counter(), time.process_time()
    await asyncio.gather(*(worker() for _ in range(in_flight)))
    return _block(begin_s, cpu_s, took_s)


async def wait_for_stream(
    stream: Callable[[int, int], Awaitable[list[float]]], calls: int, in_flight: int
) -> Block:
    """Open a stream, make a block of calls over it, and close it."""
    begin_s, cpu_s = time.perf_counter(), time.process_time()
    return _block(begin_s, cpu_s, await stream(calls, in_flight))


def timed() -> dict[str, Any]:
    """The arguments of a call, with tritonclient's own timeout beside the server's."""
    return {**arguments(), "client_timeout": TIMEOUT_S}


def _block(begin_s: float, cpu_s: float, took_s: list[float]) -> Block:
    calls = len(took_s)
    return Block(
        1e6 * (time.process_time() - cpu_s) / calls,
        calls / (time.perf_counter() - begin_s),
        took_s,
    )


if __name__ == "__main__":
    typer.run(main)
