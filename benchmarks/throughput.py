"""Serving against the bare engine: texts a second through gRPC and the ensemble.

    python benchmarks/throughput.py REPOSITORY [--rounds 16]

perf_analyzer drives the server in a closed loop on the same CPUs, one text a request; the
bare engine runs the same texts with no server, sorted and cut by tokens.  At the most calls
in flight they take turns, and each turn of the server is set beside the engine's right
before and after it: the speed of a virtual machine moves from minute to minute.  A turn
around which the engine's speed moved says little of the server, and is left out where
there are others.
"""

from __future__ import annotations

import math
import os
import tempfile
from collections.abc import Sequence
from itertools import pairwise
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

HELD: Final = 0.05
"""By how much the engine's speed may differ before and after a turn that counts."""
_CACHE: Final = Path("~/.cache/megatick").expanduser()
_OPENED: Final = frozenset({Api.MODEL_CONFIG, Api.STATISTICS})


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    texts: Annotated[
        Path | None, typer.Option(help="CSV with the column text.", show_default="invented")
    ] = None,
    levels: Annotated[
        str, typer.Option(help="Calls in flight; at the last of them the turns are.")
    ] = "1,4,16,64",
    rounds: Annotated[int, typer.Option(help="Turns of server and engine.")] = 16,
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
    options = ServeOptions(grpc_port=0, metrics_port=None, opened=_OPENED)
    subject.run(rows)

    def engine() -> float:
        return len(rows) / subject.run(rows)

    with TritonServer(repository, options) as server, tempfile.TemporaryDirectory() as at:

        def served(level: float) -> Level:
            one = SweepOptions(
                levels=(level,), window_s=window, trials=6, stability_percent=15
            )
            found = sweep(tool, calls, server.endpoints.grpc, Path(at), options=one)
            return found.levels[0]

        *fewer, best = map(float, levels.split(","))  # more in flight never cost any
        measured = {level: [served(level)] for level in fewer} | {best: []}
        raw = [engine()]
        for _ in range(rounds):
            measured[best].append(served(best))
            raw.append(engine())
    over = ratios(measured[best], raw, moved=HELD) or ratios(measured[best], raw)
    if not over:
        raise SystemExit(
            f"served: expected a turn in which perf_analyzer settles, found none of "
            f"{rounds}.  Give a longer --window, or more --rounds."
        )
    steady = {
        level: [turn for turn in turns if turn.stable] for level, turns in measured.items()
    }
    steady = {level: turns for level, turns in steady.items() if turns}
    per_s = {
        level: median([e.rows_per_s for e in turns]) for level, turns in steady.items()
    }
    figures: dict[str, Any] = {
        "served_over_raw": median(over),
        "served_over_raw_of_each_turn": over,
        "turns_left_out": rounds - len(over),
        "raw_per_s": median(raw),
        "raw_per_s_of_each_turn": raw,
        "best_concurrency": best,
        "served_per_s": per_s,
        "p50_ms": {
            level: median([e.p50_ms for e in each]) for level, each in steady.items()
        },
        "p99_ms": {
            level: median([e.p99_ms for e in each]) for level, each in steady.items()
        },
        "perf_analyzer": tool.version,
        "rounds": rounds,
        "subject": subject.about(),
    }
    table = Table("concurrency", "texts/s", "of the engine's", "p50 ms", "p99 ms")
    for level, rate in per_s.items():
        table.add_row(
            f"{level:g}",
            f"{rate:.1f}",
            f"{figures['served_over_raw'] if level == best else rate / median(raw):.2f}",
            f"{figures['p50_ms'][level]:.0f}",
            f"{figures['p99_ms'][level]:.0f}",
        )
    console = Console()
    console.print(table)
    console.print(f"the bare engine: {median(raw):.1f} texts/s")
    console.print(f"wrote {write(name, figures, out=out)}")


def ratios(
    turns: Sequence[Level], engine: Sequence[float], *, moved: float = math.inf
) -> list[float]:
    """Each stable turn's texts a second over the engine's mean before and after it.

    Args:
        turns: of the server.
        engine: its texts a second, before the first turn and after each.
        moved: a turn is left out around which that rose or fell by more than this share.
    """
    return [
        turn.rows_per_s / ((before + after) / 2)
        for turn, (before, after) in zip(turns, pairwise(engine), strict=True)
        if turn.stable and abs(after / before - 1) <= moved
    ]


if __name__ == "__main__":
    typer.run(main)
