"""A batch of a million rows that is killed in the middle, and resumed.

    python benchmarks/batch_killed.py [--rows 1000000]

The real Triton serves a ``sentiment`` that answers at once, so that what is measured is the
batch and not the model.  ``megatick batch`` gets SIGKILL once half of the rows are kept;
``megatick batch resume`` finishes it.  Every row has an id, and the ids of the output are
compared with those of the input.
"""

from __future__ import annotations

import csv
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow.parquet as pq
import typer
from instant import instant
from record import write
from rich.console import Console
from rich.table import Table

from megatick_client.batches import Batches, JobError
from megatick_export.headlines import headlines
from megatick_server.launcher import ServeOptions, TritonServer

_POLL_S: Final = 0.05


@dataclass(frozen=True)
class Ran:
    """A process, from its start to its end.

    Attributes:
        status: its exit status; below 0 the signal that ended it.
        seconds: that it ran.
        peak_bytes: the most memory that it had resident.
    """

    status: int
    seconds: float
    peak_bytes: int


def main(
    rows: Annotated[int, typer.Option(min=1000, help="Of the input.")] = 1_000_000,
    texts: Annotated[int, typer.Option(min=1, help="Different ones among them.")] = 100_000,
    out: Annotated[Path | None, typer.Option(help="Folder of the results.")] = None,
) -> None:
    """Measure rate and memory, and count rows that were lost or doubled."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        source, output = folder / "rows.csv", folder / "scores.parquet"
        write_rows(source, rows, texts)
        repository = folder / "repository"
        repository.mkdir()
        options = ServeOptions(grpc_port=0, metrics_port=None)
        with TritonServer(instant(repository), options) as server:
            to = ("--address", server.endpoints.grpc)
            killed = run_until(
                ("batch", str(source), str(output), *to), lambda: kept(output) >= rows / 2
            )
            kept_rows = kept(output)
            resumed = run_until(("batch", "resume", str(output), *to), lambda: False)
        if killed.status != -signal.SIGKILL or resumed.status != 0:
            raise RuntimeError(
                "expected a batch that SIGKILL ends and a resume with exit status 0, found "
                f"{killed.status} and {resumed.status}.  With few rows it may have ended "
                "before the kill: take more."
            )
        ids = pq.read_table(output, columns=["id"])["id"]
        # A CSV's columns are kept as the text that they are.
        lost, doubled = lost_and_doubled(ids.cast("int64").to_numpy(), rows)
        source_bytes = source.stat().st_size
    figures: dict[str, Any] = {
        "rows": rows,
        "different_texts": min(rows, texts),
        "source_bytes": source_bytes,
        "kept_at_kill": kept_rows,
        "seconds_to_kill": killed.seconds,
        "seconds_of_resume": resumed.seconds,
        "rows_per_s": rows / (killed.seconds + resumed.seconds),
        "peak_mib": {
            "killed": killed.peak_bytes / 2**20,
            "resumed": resumed.peak_bytes / 2**20,
        },
        "lost": lost,
        "doubled": doubled,
    }
    table = Table("", "")
    for each, value in figures.items():
        table.add_row(each, f"{value}")
    console = Console()
    console.print(table)
    console.print(f"wrote {write('batch_killed', figures, out=out)}")


def write_rows(path: Path, rows: int, texts: int) -> None:
    """Write a CSV of numbered rows with invented headlines."""
    told = headlines(min(rows, texts))
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(("id", "text"))
        table.writerows((number, told[number % len(told)]) for number in range(rows))


def kept(output: Path) -> int:
    """Rows that are done for good; 0 before there is a job."""
    try:
        return Batches.status(output).rows
    except JobError:
        return 0


def run_until(arguments: Sequence[str], enough: Callable[[], bool]) -> Ran:
    """Run ``megatick``, and end it by SIGKILL once it is enough."""
    command = [str(Path(sys.executable).with_name("megatick")), *arguments]
    begin_s, peak_bytes = time.perf_counter(), 0
    with subprocess.Popen(command) as process:
        try:
            while process.poll() is None:
                peak_bytes = max(peak_bytes, peak_of(process.pid))
                if enough():
                    os.kill(process.pid, signal.SIGKILL)
                    break
                time.sleep(_POLL_S)
            status = process.wait()
        finally:
            process.kill()
    return Ran(status, time.perf_counter() - begin_s, peak_bytes)


def peak_of(pid: int) -> int:
    """The most bytes that a process had resident so far; 0 once it has ended."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024  # told in KiB
    return 0


def lost_and_doubled(ids: npt.NDArray[np.int64], rows: int) -> tuple[int, int]:
    """Count ids of ``range(rows)`` that are absent, and rows beyond one for an id."""
    times = np.bincount(ids, minlength=rows)
    return int((times[:rows] == 0).sum()), int(len(ids) - (times > 0).sum())


if __name__ == "__main__":
    typer.run(main)
