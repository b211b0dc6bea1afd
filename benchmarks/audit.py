"""What it costs a caller that every reply is recorded.

    python benchmarks/audit.py REPOSITORY [--calls 200] [--rounds 5]

Servers of one repository, one without ``--audit`` and one for each way to keep a record,
take turns on the same CPUs: call by call while one call is in flight, and 256 texts by 256
texts while many are.  The logs are on the disk of ``--folder``, whose sync is timed too.
"""

from __future__ import annotations

import os
import secrets
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer
from cache import score_all
from record import write
from rich.console import Console
from rich.progress import track
from rich.table import Table
from subject import Subject, median, read_texts

from megatick_client import Client
from megatick_server.audit import AuditSettings, OnFailure, read_records
from megatick_server.launcher import ServeOptions, TritonServer

Ways = Mapping[str, tuple[OnFailure, float] | None]
"""Of each way to serve, ``--audit-failure`` and ``--audit-sync-s``; None has no record."""

WITHOUT: Final = "no record"
WAYS: Final[Ways] = {
    WITHOUT: None,
    "refuse": ("refuse", 1.0),
    "reply": ("reply", 1.0),
    "refuse, sync 0": ("refuse", 0.0),
}
_WARM_UP: Final = 10  # calls of each server
_TEXTS: Final = 256  # of a turn with many in flight


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    calls: Annotated[int, typer.Option(min=1, help="Of each server, one by one.")] = 200,
    rounds: Annotated[int, typer.Option(min=1, help="Turns with many in flight.")] = 5,
    in_flight: Annotated[int, typer.Option(help="Calls of one text.")] = 32,
    folder: Annotated[Path, typer.Option(help="On the disk for the logs.")] = Path("build"),
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
) -> None:
    """Measure latency of a lone call and texts a second, without a record and with one."""
    figures: dict[str, Any] = {
        "calls": calls,
        "rounds": rounds,
        "in_flight": in_flight,
        "disk_sync_ms": sync_ms(folder),
        "ways": measure(repository, WAYS, calls, rounds, in_flight, folder),
        "subject": Subject.of(repository).about(),
    }
    table = Table(
        "record", "p50 ms", "p99 ms", "more a call, ms", "texts/s", "over", "lost"
    )
    for way, it in figures["ways"].items():
        table.add_row(
            way,
            *(f"{it[name]:.2f}" for name in ("p50_ms", "p99_ms", "more_ms")),
            f"{it['per_s']:.1f}",
            f"{it['per_s_over_without']:.3f}",
            str(it["lost"]),
        )
    console = Console()
    console.print(table)
    console.print(f"this disk syncs in {figures['disk_sync_ms']:.2f} ms")
    console.print(f"wrote {write('audit', figures, out=out)}")


def measure(
    repository: Path, ways: Ways, calls: int, rounds: int, in_flight: int, folder: Path
) -> dict[str, dict[str, float]]:
    """Let servers take turns.

    Args:
        repository: that all of them serve.
        ways: among them ``WITHOUT``.
        calls: of each, one by one.
        rounds: with many calls in flight.
        in_flight: so many.
        folder: on the disk for the logs; left as it was.

    Returns:
        Of each way ``p50_ms`` and ``p99_ms`` of its lone calls, ``more_ms`` (the median of
        what each took longer than the same call without a record), ``per_s`` (the median
        of its rounds), ``per_s_over_without`` (that of the rounds' ratios), and ``lost``:
        calls that its log does not have.
    """
    lone = read_texts(None, _WARM_UP + calls)
    many = read_texts(None, _TEXTS)
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder) as scratch, ExitStack() as stack:
        logs = {way: Path(scratch) / str(number) for number, way in enumerate(ways)}
        servers = [
            stack.enter_context(TritonServer(repository, options(ways[way], log)))
            for way, log in logs.items()
        ]
        addresses = dict(zip(ways, (each.endpoints.grpc for each in servers), strict=True))
        took_ms = one_by_one(addresses, lone)
        per_s: dict[str, list[float]] = {way: [] for way in ways}
        with ThreadPoolExecutor(in_flight) as threads:
            for number in track(range(rounds + 1), transient=True):
                for way in shuffled(ways, number):
                    rate = score_all(addresses[way], many, threads)
                    if number:  # the first round warms up
                        per_s[way].append(rate)
        stack.close()  # so that all is written
        asked = len(lone) + (rounds + 1) * _TEXTS
        lost = {way: asked - replies(log) if ways[way] else 0 for way, log in logs.items()}
    return {
        way: {
            "p50_ms": float(np.percentile(took_ms[way], 50)),
            "p99_ms": float(np.percentile(took_ms[way], 99)),
            "more_ms": float(np.median(took_ms[way] - took_ms[WITHOUT])),
            "per_s": median(per_s[way]),
            "per_s_over_without": float(np.median(np.divide(per_s[way], per_s[WITHOUT]))),
            "lost": lost[way],
        }
        for way in ways
    }


def options(kept: tuple[OnFailure, float] | None, log: Path) -> ServeOptions:
    """Serve on a free port, and record as is told."""
    audit = None
    if kept is not None:
        key_file = log.with_suffix(".key")
        key_file.write_text(secrets.token_hex(32))
        audit = AuditSettings(log, key_file, *kept)
    return ServeOptions(grpc_port=0, metrics_port=None, audit=audit)


def one_by_one(
    addresses: Mapping[str, str], texts: Sequence[str]
) -> dict[str, np.ndarray[Any, np.dtype[np.float64]]]:
    """Score each text on each server, never two at once; ms of those after the warm-up."""
    took_ms: dict[str, list[float]] = {way: [] for way in addresses}
    with ExitStack() as stack:
        clients = {
            way: stack.enter_context(Client(address, timeout_s=60))
            for way, address in addresses.items()
        }
        for number, text in enumerate(texts):
            for way in shuffled(clients, number):
                started_s = time.perf_counter()
                clients[way].score(text)
                took_ms[way].append(1e3 * (time.perf_counter() - started_s))
    return {way: np.array(each[_WARM_UP:]) for way, each in took_ms.items()}


def shuffled(ways: Iterable[str], turn: int) -> list[str]:
    """Put them in another order each turn, so that none always follows the same one."""
    return [str(way) for way in np.random.default_rng(turn).permutation(list(ways))]


def replies(log: Path) -> int:
    """Count the replies that a log has."""
    return sum(record["kind"] == "reply" for record in read_records(log))


def sync_ms(folder: Path, writes: int = 50) -> float:
    """Median milliseconds that the disk takes for a line and to have it."""
    folder.mkdir(parents=True, exist_ok=True)
    took_ms = []
    with tempfile.TemporaryFile(dir=folder, buffering=0) as file:
        for _ in range(writes):
            started_s = time.perf_counter()
            file.write(b"x" * 1000)
            os.fsync(file)
            took_ms.append(1e3 * (time.perf_counter() - started_s))
    return median(took_ms)


if __name__ == "__main__":
    typer.run(main)
