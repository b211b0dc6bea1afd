"""What happens when three times as many texts come as the server can score.

    python benchmarks/overload.py REPOSITORY [--seconds 60]

Open loop: calls are sent when they are due, whatever became of those before.  Capacity is
measured first, by the same sender; then three times of it are offered, each call with a
deadline; then a third of it, to see how soon the server is itself again.
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
from megatick_server.launcher import ServeOptions, TritonServer

_PATIENT_S: Final = 600.0
_SAMPLE_S: Final = 0.5


def main(
    repository: Annotated[Path, typer.Argument(help="What `megatick export` wrote.")],
    texts: Annotated[
        Path | None, typer.Option(help="CSV with the column text.", show_default="invented")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Of overload.")] = 60.0,
    factor: Annotated[float, typer.Option(help="Times the capacity.")] = 3.0,
    deadline: Annotated[float, typer.Option(help="Of each call, in seconds.")] = 1.0,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
    name: Annotated[str, typer.Option(help="Of the result.")] = "overload",
) -> None:
    """Measure goodput, rejections, memory and recovery."""
    subject = Subject.of(repository)
    told = read_texts(texts, 1000)
    rows = subject.rows(told)
    subject.run(rows[:64])
    raw_per_s = 256 / subject.run(rows[:256])
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
        saturated = replay(constant(1.3 * raw_per_s, 15), calls, endpoint, options=patient)
        capacity = sustained(saturated)
        with memory_of(server.pid) as bytes_used:
            overloaded = replay(
                constant(factor * capacity, seconds), calls, endpoint, options=hurried
            )
        after = replay(constant(capacity / 3, 10), calls, endpoint, options=hurried)
    refused = refusals_ms(overloaded)
    ended = after.records
    slow = ended.from_due_s > 3 * float(np.median(ended.from_due_s))
    figures: dict[str, Any] = {
        "capacity_per_s": capacity,
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
        "recovered_after_s": float(ended.due_s[slow].max()) if slow.any() else 0.0,
        "p50_p99_after_ms": [after.from_due.p50_ms, after.from_due.p99_ms],
        "subject": about,
    }
    table = Table("", "")
    for each, value in figures.items():
        table.add_row(each, f"{value}")
    console = Console()
    console.print(table)
    console.print(f"wrote {write(name, figures, out=out)}")


def sustained(result: ReplayResult) -> float:
    """Answers a second in the middle of a run that was saturated from its start."""
    done = np.sort(result.records.done_s[np.isfinite(result.records.done_s)])
    window = done[(done > 3) & (done < 15)]
    return len(window) / 12


def refusals_ms(result: ReplayResult) -> list[float]:
    """p50 and p99 of the time to a refusal."""
    took = result.records.from_send_s[result.records.are("Overloaded")]
    if not len(took):
        return []
    return [float(1e3 * np.percentile(took, each)) for each in (50, 99)]


@contextmanager
def memory_of(pid: int) -> Iterator[list[int]]:
    """Sample what a server and its steps hold, in bytes."""
    samples: list[int] = []
    over = threading.Event()

    def sample() -> None:
        server = psutil.Process(pid)
        while True:
            family = [server, *server.children(recursive=True)]
            samples.append(sum(each.memory_full_info().uss for each in family))
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


if __name__ == "__main__":
    typer.run(main)
