"""Where every benchmark leaves its figures: one JSON file each, with what made them."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from megatick_export.receipt import machine, versions
from megatick_server.cpus import usable_cpus

RESULTS: Final = Path(__file__).parent / "results"


def write(name: str, figures: Mapping[str, Any], *, out: Path | None = None) -> Path:
    """Write a benchmark's figures.

    Args:
        name: of the file, without its ending.
        figures: whatever it measured, as JSON.
        out: folder; None takes ``benchmarks/results``.

    Returns:
        The file.
    """
    folder = out or RESULTS
    folder.mkdir(parents=True, exist_ok=True)
    command = ["python", os.path.relpath(sys.argv[0]), *sys.argv[1:]]
    whole = {
        "benchmark": name,
        "command": shlex.join(command),
        "date_utc": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "cpus": usable_cpus(),
        "load_average_at_end": os.getloadavg()[0],
        "versions": versions(),
        **figures,
    }
    path = folder / f"{name}.json"
    path.write_text(json.dumps(whole, indent=2) + "\n")
    return path
