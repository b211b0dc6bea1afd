"""Files that are there whole, or not at all, whenever the machine stops."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

UNFINISHED_SUFFIX: Final = ".unfinished"
"""Ends the name of a file or a folder that is being written, beside the place it will be
renamed to; one that is found later was never finished."""


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a name to write to; what was written becomes ``path`` once it is on the disk.

    with whole(path) as unfinished:
        unfinished.write_text("…")

    It is ``.{path.name}.unfinished``, and what a crash left there is written over.  A link
    stays one: it is what it points to that is replaced.  A device or a pipe is not, and is
    given itself.
    """
    if path.exists() and not path.is_file():
        yield path
        return
    path = path.resolve()
    unfinished = path.with_name(f".{path.name}{UNFINISHED_SUFFIX}")
    try:
        yield unfinished
        to_disk(unfinished)
        unfinished.replace(path)
        to_disk(path.parent)
    finally:
        unfinished.unlink(missing_ok=True)


def to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
