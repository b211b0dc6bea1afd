"""What happens when three times as many texts come as the server can score.

    python benchmarks/overload.py REPOSITORY [--seconds 60]

Open loop: calls are sent when they are due, whatever became of those before.  Capacity is
measured first, by the same sender; then three times of it are offered, each call with a
deadline; then a third of it, to see how soon the server is itself again; then capacity once
more.  A machine's speed may change in between, so the goodput is set against the mean of
the two, and both are told.  So is how many CPUs the load generator took of those that the
server has, and what a refusal costs therefore.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import psutil
import typer
from record import write
from rich.console import Console
from rich.table import Table
from subject import Subject, read_texts

from megatick_client.load import (
    ReplayOptions,
    ReplayResult,
    Texts,
    constant,
    replay,
    sentiment_calls,
)
from megatick_client.load.records import ANSWERED
from megatick_server.launcher import ServeOptions, TritonServer

_PATIENT_S: Final = 600.0
_SAMPLE_S: Final = 2.0
"""Between two looks at a server's memory: each takes 12 ms of the CPUs that it runs on."""

_SATURATING: Final = 2.0
"""Times the bare engine's rate: enough where the machine has become half as fast again."""

_KEPT_UP: Final = 0.95
"""Of the rate of a saturating run: a server that answers more is not saturated."""

_SETTLING_S: Final = 3.0
"""Of a saturated run, before its rate is counted."""


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    texts: Annotated[
        Path | None, typer.Option(help="CSV with the column text.", show_default="invented")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of overload.")] = 60.0,
    factor: Annotated[float, typer.Option(help="Times the capacity.")] = 3.0,
    deadline: Annotated[float, typer.Option(help="Of each call, in seconds.")] = 1.0,
    saturated: Annotated[
        float, typer.Option(min=4, help="Seconds of each measurement of the capacity.")
    ] = 15.0,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "overload",
) -> None:
    """Measure goodput, rejections, memory and recovery."""
    subject = Subject.of(repository)
    told = read_texts(texts, 1000)
    rows = subject.rows(told)
    raw_per_s = subject.warm_rate(rows)
    about, tolerance = subject.about(), subject.score_tolerance
    del subject
    calls = sentiment_calls(Texts(tuple(told)))
    patient = ReplayOptions(
        timeout_s=_PATIENT_S, slo_s=_PATIENT_S, score_tolerance=tolerance
    )
    hurried = ReplayOptions(timeout_s=deadline, slo_s=deadline, score_tolerance=tolerance)
    options = ServeOptions(grpc_port=0, metrics_port=None)
    with TritonServer(repository, options) as server:
        endpoint = server.endpoints.grpc

        def capacity_per_s() -> float:
            plan = constant(_SATURATING * raw_per_s, saturated)
            return sustained(replay(plan, calls, endpoint, options=patient))

        before = capacity_per_s()
        with memory_of(server.pid) as bytes_used, cpus_of(server.pid) as cpus:
            overloaded = replay(
                constant(factor * before, seconds), calls, endpoint, options=hurried
            )
        calm = replay(constant(before / 3, 10), calls, endpoint, options=hurried)
        after = capacity_per_s()
    capacity = (before + after) / 2
    refused = refusals_ms(overloaded)
    ended = calm.records
    slow = ended.from_due_s > 3 * float(np.median(ended.from_due_s))
    figures: dict[str, Any] = {
        "capacity_per_s": capacity,
        "capacity_before_per_s": before,
        "capacity_after_per_s": after,
        "raw_per_s": raw_per_s,
        "offered_per_s": overloaded.offered_per_s,
        "goodput_per_s": overloaded.goodput_per_s,
        "goodput_over_capacity": overloaded.goodput_per_s / capacity,
        "deadline_s": deadline,
        "seconds": seconds,
        "outcomes": {each.name: each.calls for each in overloaded.outcomes},
        "answered_p50_p99_ms": [overloaded.from_due.p50_ms, overloaded.from_due.p99_ms],
        "refused_p50_p99_ms": refused,
        "send_lag_p99_ms": overloaded.lag.p99_ms,
        "memory_first_and_last_mib": [
            round(each / 2**20) for each in (bytes_used[0], bytes_used[-1])
        ],
        "cpus_overloaded": cpus,
        "recovered_after_s": float(ended.due_s[slow].max()) if slow.any() else 0.0,
        "p50_p99_after_ms": [calm.from_due.p50_ms, calm.from_due.p99_ms],
        "subject": about,
    }
    table = Table("", "")
    for each, value in figures.items():
        table.add_row(each, f"{value}")
    console = Console()
    console.print(table)
    console.print(f"wrote {write(name, figures, out=out)}")


def sustained(result: ReplayResult) -> float:
    """Answers a second of a run that was saturated from its start, once it had settled.

    Raises:
        SystemExit: the server kept up, so this is no capacity.
    """
    answered = result.records.done_s[result.records.are(ANSWERED)]
    end_s = result.duration_s
    counted = int(((answered > _SETTLING_S) & (answered <= end_s)).sum())
    per_s = counted / (end_s - _SETTLING_S)
    if per_s > _KEPT_UP * result.offered_per_s:
        raise SystemExit(
            f"capacity: expected fewer answers than calls, found {per_s:.1f} a second of "
            f"{result.offered_per_s:.1f}: the machine has become faster since the bare "
            "engine was timed.  Measure again."
        )
    return per_s


def refusals_ms(result: ReplayResult) -> list[float]:
    """p50 and p99 of the time to a refusal."""
    took = result.records.from_send_s[result.records.are("Overloaded")]
    if not len(took):
        return []
    return [float(1e3 * np.percentile(took, each)) for each in (50, 99)]


def held_by(process: psutil.Process) -> int:
    """Bytes that a process alone holds; 0 if it has just ended."""
    try:
        return int(process.memory_full_info().uss)
    except psutil.NoSuchProcess:
        return 0


@contextmanager
def memory_of(pid: int) -> Iterator[list[int]]:
    """Sample what a server and its steps hold, in bytes."""
    samples: list[int] = []
    over = threading.Event()

    def sample() -> None:
        server = psutil.Process(pid)
        while True:
            family = [server, *server.children(recursive=True)]
            samples.append(sum(map(held_by, family)))
            if over.wait(_SAMPLE_S):
                return

    thread = threading.Thread(target=sample)
    thread.start()
    time.sleep(0.1)
    try:
        yield samples
    finally:
        over.set()
        thread.join()


def cpu_s(pid: int) -> dict[str, float]:
    """CPU seconds so far of this process, of a server and of the steps that it runs."""
    server = psutil.Process(pid)
    processes = {
        "load generator": [psutil.Process()],
        "Triton": [server],
        "steps": server.children(recursive=True),
    }
    return {
        name: sum(sum(each.cpu_times()[:2]) for each in of_it)
        for name, of_it in processes.items()
    }


@contextmanager
def cpus_of(pid: int) -> Iterator[dict[str, float]]:
    """Tell how many CPUs each of them kept busy meanwhile, once it is over."""
    cpus: dict[str, float] = {}
    began_s, before = time.monotonic(), cpu_s(pid)
    yield cpus
    took_s = time.monotonic() - began_s
    cpus |= {name: (after - before[name]) / took_s for name, after in cpu_s(pid).items()}


if __name__ == "__main__":
    typer.run(main)
