"""A tiny checkpoint beside what it was exported to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tiny import write_tiny

from megatick_export import ExportOptions, Receipt, export_repository


@dataclass(frozen=True)
class Exported:
    """A checkpoint, its repository or bare graph, and the receipt."""

    checkpoint: Path
    out: Path
    receipt: Receipt


def export_tiny(folder: Path, **options: Any) -> Exported:
    """Export a tiny Llama into a folder, in float32 unless ``options`` say otherwise.

    They are those of ``ExportOptions``.
    """
    checkpoint, out = write_tiny(folder / "checkpoint"), folder / "out"
    chosen = ExportOptions(**({"precision": "fp32"} | options))
    return Exported(checkpoint, out, export_repository(checkpoint, out, options=chosen))
