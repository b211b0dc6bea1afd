"""What was exported, from what, by what, and the evidence that it is the same model."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from megatick_export.checkpoint import Architecture
from megatick_export.parity import Comparison

_PACKAGES: Final = (
    "megatick",
    "torch",
    "onnx",
    "onnx-ir",
    "onnxscript",
    "onnxruntime",
    "openvino",
    "tokenizers",
    "numpy",
)


@dataclass(frozen=True)
class Source:
    """The checkpoint that was read.

    Attributes:
        path: folder of the iteration.
        layout: how it was stored.
        iteration: of the training run, if it is known.
        parameters: numbers in the model, the head included.
        files: SHA-256 of each file that was read, by path relative to that folder.
    """

    path: str
    layout: str
    iteration: int | None
    parameters: int
    files: Mapping[str, str]


@dataclass(frozen=True)
class Receipt:
    """The contents of ``receipt.json``.

    Attributes:
        model_digest: SHA-256 over the names and hashes in ``files``; every reply can
            carry it.
        created_utc: ISO 8601.
        checkpoint: what was read.
        tokenizer: its kind, the SHA-256 of its files, and how it was proven to be the
            same after its conversion.
        forecaster: SHA-256, what it was fitted on, and its edge per horizon.
        architecture: of the model, head included.
        labels: meaning of the checkpoint's class rows, in the checkpoint's order.
        precision: what the served engine computes in.
        max_tokens: longest row the served model reads.
        parity: each way of running the graph against the reference network.
        files: SHA-256 of each file of the repository, by path relative to it; this one
            and the digest's own are left out.
        versions: of what made it.
        machine: processor and system that made it.
    """

    model_digest: str
    created_utc: str
    checkpoint: Source
    tokenizer: Mapping[str, Any]
    forecaster: Mapping[str, Any]
    architecture: Architecture
    labels: tuple[str, ...]
    precision: str
    max_tokens: int
    parity: tuple[Comparison, ...]
    files: Mapping[str, str]
    versions: Mapping[str, str]
    machine: str

    def to_json(self) -> str:
        """Write the receipt as indented JSON."""
        return json.dumps(asdict(self), indent=2, allow_nan=False) + "\n"


def sha256(path: Path) -> str:
    """Hash a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def hash_files(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Hash files, by their path relative to a root, in order of name."""
    return {
        Path(os.path.relpath(file, root)).as_posix(): sha256(file) for file in sorted(files)
    }


def model_digest(files: Mapping[str, str]) -> str:
    """One SHA-256 over what is served: each file's name and hash, in order of name."""
    lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(files.items()))
    return hashlib.sha256(lines.encode()).hexdigest()


def versions() -> dict[str, str]:
    """Versions of Python and of the packages that took part."""
    found = {"python": platform.python_version()}
    return found | {name: importlib.metadata.version(name) for name in _PACKAGES}


def machine() -> str:
    """Name the processor and the system."""
    processor = platform.processor() or platform.machine()
    if sys.platform == "linux":
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                processor = line.split(":", 1)[1].strip()
                break
    return f"{processor}, {platform.system()} {platform.machine()}"
