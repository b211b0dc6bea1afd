"""What the server's cache of answers is worth, where texts repeat and where they do not.

    python benchmarks/cache.py REPOSITORY [--rounds 5]

Two servers of one repository, without and with ``--cached-texts``, take turns on the same
CPUs.  Each turn scores texts that are all new, then texts of which three in four were seen
before.
"""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from record import write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from subject import Subject, median, read_texts

from megatick_client import Client
from megatick_server.launcher import ServeOptions, TritonServer

KINDS: Final = ("all new", "three in four repeat")
_TEXTS: Final = 256  # of a turn


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each.")] = 5,
    cached_texts: Annotated[int, typer.Option(help="Of the second server.")] = 10_000,
    in_flight: Annotated[int, typer.Option(help="Calls of one text.")] = 32,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
) -> None:
    """Measure texts a second, both ways."""
    new = iter(read_texts(None, 2 * _TEXTS * (rounds + 1)))
    draw = np.random.default_rng(0)
    per_s: dict[tuple[int, str], list[float]] = {}
    with (
        TritonServer(repository, options(0)) as without,
        TritonServer(repository, options(cached_texts)) as with_cache,
        ThreadPoolExecutor(in_flight) as threads,
    ):
        servers = {0: without.endpoints.grpc, cached_texts: with_cache.endpoints.grpc}
        for number in track(range(rounds + 1), transient=True):
            fresh = [next(new) for _ in range(_TEXTS)]
            few = [next(new) for _ in range(_TEXTS // 4)]
            repeated = [few[i] for i in draw.permutation(np.tile(np.arange(len(few)), 4))]
            for kind, texts in zip(KINDS, (fresh, repeated), strict=True):
                for size in sorted(servers, reverse=bool(number % 2)):
                    rate = score_all(servers[size], texts, threads)
                    if number:  # the first round warms up
                        per_s.setdefault((size, kind), []).append(rate)
    ratios = {
        kind: median(
            [
                cached / plain
                for cached, plain in zip(
                    per_s[cached_texts, kind], per_s[0, kind], strict=True
                )
            ]
        )
        for kind in KINDS
    }
    figures: dict[str, Any] = {
        "rounds": rounds,
        "cached_texts": cached_texts,
        "without_per_s": {kind: median(per_s[0, kind]) for kind in KINDS},
        "with_per_s": {kind: median(per_s[cached_texts, kind]) for kind in KINDS},
        "with_over_without": ratios,
        "subject": Subject.of(repository).about(),
    }
    table = Table("texts", "without, texts/s", "with, texts/s", "ratio")
    for kind in KINDS:
        table.add_row(
            kind,
            f"{figures['without_per_s'][kind]:.1f}",
            f"{figures['with_per_s'][kind]:.1f}",
            f"{ratios[kind]:.2f}",
        )
    console = Console()
    console.print(table)
    console.print(f"wrote {write('cache', figures, out=out)}")


def options(cached_texts: int) -> ServeOptions:
    """Serve on a free port."""
    return ServeOptions(grpc_port=0, metrics_port=None, cached_texts=cached_texts)


def score_all(address: str, texts: list[str], threads: ThreadPoolExecutor) -> float:
    """Score texts, each in a call of its own; returns texts a second."""
    with Client(address, timeout_s=60) as client:
        begin_s = time.perf_counter()
        list(threads.map(client.score, texts))
        return len(texts) / (time.perf_counter() - begin_s)


if __name__ == "__main__":
    typer.run(main)
