"""Where the time of a call goes: each stage by the server's own clock, and the rest.

    python benchmarks/hops.py REPOSITORY [--calls 400] [--in-flight 32]

``market_view``, which passes every stage: one call at a time, then many in flight.  What
no stage has is what gRPC, Triton, the copies between its processes and the client take.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from record import write
from rich.console import Console
from rich.table import Table
from subject import Subject, median, read_texts

from megatick_client import AsyncClient
from megatick_contract import STAGES
from megatick_server.launcher import ServeOptions, TritonServer

REST: Final = "gRPC, Triton and copies"
_CLOSES: Final = [100.0 + bar % 7 for bar in range(64)]


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    calls: Annotated[int, typer.Option(help="Of each half.")] = 400,
    in_flight: Annotated[int, typer.Option(help="In the second half.")] = 32,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
) -> None:
    """Measure the stages of a call."""
    texts = read_texts(None, calls)
    with TritonServer(repository, ServeOptions(grpc_port=0, metrics_port=None)) as server:
        found = {
            str(flight): asyncio.run(stages_ms(server.endpoints.grpc, texts, flight))
            for flight in (1, in_flight)
        }
    subject = Subject.of(repository)
    rows = subject.rows(texts[:256])
    subject.run(rows)
    engine_s, tokenizer_s = [], []
    for _ in range(5):
        engine_s.append(subject.run(rows))
        tokenizer_s.append(subject.tokenize_s(texts[:256]))
    share = median(tokenizer_s) / median(engine_s)
    figures: dict[str, Any] = {
        "calls": calls,
        "median_ms": found,
        "tokenizer_over_engine": share,
        "subject": subject.about(),
    }
    table = Table("median ms", *(f"{flight} in flight" for flight in found))
    for stage in (*STAGES, REST):
        table.add_row(stage, *(f"{each[stage]:.3f}" for each in found.values()))
    console = Console()
    console.print(table)
    console.print(f"the tokenizer's time over the engine's, 256 texts: {share:.4f}")
    console.print(f"wrote {write('hops', figures, out=out)}")


async def stages_ms(address: str, texts: list[str], in_flight: int) -> dict[str, float]:
    """Ask for views, and take the median of each stage."""
    seen: dict[str, list[float]] = {stage: [] for stage in (*STAGES, REST)}
    left = iter(texts)

    async def worker(client: AsyncClient) -> None:
        for text in left:
            view = await client.market_view(text, _CLOSES, timings=True)
            stages_s = view.reply.stages_s
            for stage, took_s in stages_s.items():
                seen[stage].append(1e3 * took_s)
            rest_s = view.reply.elapsed_s - sum(stages_s.values())
            seen[REST].append(1e3 * rest_s)

    async with AsyncClient(address, timeout_s=60) as client:
        await client.warm_up()
        await asyncio.gather(*(worker(client) for _ in range(in_flight)))
    return {stage: median(took_ms) for stage, took_ms in seen.items()}


if __name__ == "__main__":
    typer.run(main)
