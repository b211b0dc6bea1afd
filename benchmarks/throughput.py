"""Serving against the bare engine: texts a second through gRPC and the ensemble.

    python benchmarks/throughput.py REPOSITORY [--rounds 3]

perf_analyzer drives the server in a closed loop on the same CPUs, one text a request; the
bare engine runs the same texts, cut as the server cuts them, with no server.  They take
turns.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from record import write
from rich.console import Console
from rich.table import Table
from subject import Subject, median, read_texts

from megatick_client.load import Texts, sentiment_calls
from megatick_client.load.perf_analyzer import find_perf_analyzer
from megatick_client.load.sweep import Level, SweepOptions, sweep
from megatick_server.launcher import ServeOptions, TritonServer
from megatick_server.launcher.options import Api

LEVELS: Final = (1.0, 4.0, 16.0, 64.0)
_CACHE: Final = Path("~/.cache/megatick").expanduser()
_OPENED: Final = frozenset({Api.MODEL_CONFIG, Api.STATISTICS})


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    texts: Annotated[
        Path | None, typer.Option(help="CSV with the column text.", show_default="invented")
    ] = None,
    rounds: Annotated[int, typer.Option(help="Turns of engine and server.")] = 3,
    window: Annotated[float, typer.Option(help="Of perf_analyzer, in seconds.")] = 4.0,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "served_over_raw",
) -> None:
    """Measure throughput at each concurrency, beside the engine's own."""
    subject = Subject.of(repository)
    told = read_texts(texts, 256)
    rows = subject.rows(told)
    tool = find_perf_analyzer(_CACHE, environment=dict(os.environ))
    calls = sentiment_calls(Texts(tuple(told)))
    raw: list[float] = []
    served: dict[float, list[Level]] = {level: [] for level in LEVELS}
    subject.run(rows)
    options = ServeOptions(grpc_port=0, metrics_port=None, opened=_OPENED)
    with TritonServer(repository, options) as server, tempfile.TemporaryDirectory() as at:
        for _ in range(rounds):
            for level in LEVELS:
                raw.append(len(rows) / subject.run(rows))
                one = SweepOptions(
                    levels=(level,), window_s=window, trials=6, stability_percent=15
                )
                found = sweep(tool, calls, server.endpoints.grpc, Path(at), options=one)
                served[level].append(found.levels[0])
    by_level = {
        level: median([each.rows_per_s for each in levels if each.stable])
        for level, levels in served.items()
        if any(each.stable for each in levels)
    }
    best = max(by_level, key=lambda level: by_level[level])
    figures: dict[str, Any] = {
        "served_over_raw": by_level[best] / median(raw),
        "raw_per_s": median(raw),
        "raw_per_s_of_each_turn": raw,
        "best_concurrency": best,
        "served_per_s": by_level,
        "p50_ms": {level: median([e.p50_ms for e in served[level]]) for level in by_level},
        "p99_ms": {level: median([e.p99_ms for e in served[level]]) for level in by_level},
        "perf_analyzer": tool.version,
        "rounds": rounds,
        "subject": subject.about(),
    }
    table = Table("concurrency", "texts/s", "of the engine's", "p50 ms", "p99 ms")
    for level, rate in by_level.items():
        table.add_row(
            f"{level:g}",
            f"{rate:.1f}",
            f"{rate / median(raw):.2f}",
            f"{figures['p50_ms'][level]:.0f}",
            f"{figures['p99_ms'][level]:.0f}",
        )
    console = Console()
    console.print(table)
    console.print(f"the bare engine: {median(raw):.1f} texts/s")
    console.print(f"wrote {write(name, figures, out=out)}")


if __name__ == "__main__":
    typer.run(main)
