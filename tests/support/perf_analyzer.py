"""A stand-in for NVIDIA's ``perf_analyzer``: its options, its CSV, and faults on purpose.

Its CSV and its exit statuses are those of release 2.46.  At level L each figure is L times
that of level 1.
"""

from __future__ import annotations

import csv
import json
import shlex
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from pathlib import Path

VERSION = "Perf Analyzer Version 2.46.0 (commit unknown)"
FIGURES: Mapping[str, float] = {
    "Inferences/Second": 100,
    "Client Send": 3,
    "Network+Server Send/Recv": 700,
    "Server Queue": 20,
    "Server Compute Input": 1,
    "Server Compute Infer": 200,
    "Server Compute Output": 9,
    "Client Recv": 2,
    "p50 latency": 1000,
    "p90 latency": 2000,
    "p95 latency": 3000,
    "p99 latency": 4000,
}
"""Its columns after the level's, and what it finds at level 1; times in microseconds."""

IN_SERVER_US = 800
REPORT = """\
  Server:
    Inference count: 10
    Avg request latency: {us:.0f} usec (overhead 5 usec + queue 20 usec + compute 6 usec)

  Composing models:
  step, version: 1
      Avg request latency: 7 usec (overhead 1 usec + queue 5 usec + compute 1 usec)
"""
"""What it prints of an ensemble, shortened."""


@dataclass(frozen=True)
class StandIn:
    """How the program behaves.

    Attributes:
        version: its answer to ``--version``.
        fails: by the level, its exit status and last words; no CSV is written then.
        columns: of its CSV.
        report: what it prints.
    """

    version: str = VERSION
    fails: dict[str, tuple[int, str]] = field(default_factory=dict)
    columns: Mapping[str, float] = field(default_factory=lambda: dict(FIGURES))
    report: str = REPORT

    def install(self, folder: Path) -> Path:
        """Put the program into a folder, for PATH to find; returns it."""
        (folder / "stand_in.json").write_text(json.dumps(asdict(self)))
        command = shlex.join([sys.executable, __file__, str(folder)])
        return write_script(folder / "perf_analyzer", f'exec {command} "$@"')


def calls_of(program: Path) -> list[dict[str, str]]:
    """The options of each run, by name; one without a value has the next one's name."""
    runs = (program.parent / "calls.jsonl").read_text().splitlines()
    given = [json.loads(line) for line in runs]
    return [dict(pairwise(each)) for each in given]


def write_script(path: Path, *lines: str) -> Path:
    """Write a program for the shell."""
    path.write_text("\n".join(("#!/bin/sh", *lines, "")))
    path.chmod(0o755)
    return path


def _run(folder: Path, given: list[str]) -> int:
    behaviour = StandIn(**json.loads((folder / "stand_in.json").read_text()))
    if given == ["--version"]:
        sys.stdout.write(f"{behaviour.version}\n")
        return 0
    with (folder / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps(given) + "\n")
    options = dict(pairwise(given))
    modes = {"--concurrency-range": "Concurrency", "--request-rate-range": "Request Rate"}
    (mode,) = modes.keys() & options.keys()
    level = options[mode]
    sys.stdout.write("*** Measurement Settings ***\n")
    if level in behaviour.fails:
        status, words = behaviour.fails[level]
        sys.stderr.write(f"{words}\n")
        return status
    sys.stdout.write(behaviour.report.format(us=float(level) * IN_SERVER_US))
    figures = (f"{float(level) * each:g}" for each in behaviour.columns.values())
    with Path(options["-f"]).open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow((modes[mode], *behaviour.columns))
        table.writerow((level, *figures))
    return 0


if __name__ == "__main__":
    sys.exit(_run(Path(sys.argv[1]), sys.argv[2:]))
