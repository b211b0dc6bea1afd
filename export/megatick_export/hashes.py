"""SHA-256 of files, and of what is served as a whole."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path


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
