"""The folder that is served: is it a whole model repository?"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from megatick_server.errors import RepositoryError

RECEIPT: Final = "receipt.json"
PARTIAL: Final = ".partial"
"""How the exporter names what it has not finished writing."""

_EXPORT: Final = "`megatick export` writes one."


@dataclass(frozen=True)
class Repository:
    """A model repository that is whole, as far as its folders can tell.

    Attributes:
        path: absolute.
        models: names, sorted.
    """

    path: Path
    models: tuple[str, ...]


def check_repository(path: Path) -> Repository:
    """Look at the folders; no model is opened.

    Args:
        path: a folder of model folders, each with its ``config.pbtxt``, and of the
            ``receipt.json`` that the exporter writes last.

    Raises:
        RepositoryError: it is absent, half-written, or something else.
    """
    path = path.absolute()
    if not path.is_dir():
        problem = "is a file" if path.exists() else "does not exist"
        raise RepositoryError(
            path, f"{problem}, expected a model repository", remedy=_EXPORT
        )
    unfinished = [each for each in (path, *path.iterdir()) if each.suffix == PARTIAL]
    if unfinished:
        raise RepositoryError(
            unfinished[0],
            "was never finished: its export failed, or is still running",
            remedy="Delete it and export again.",
        )
    models = sorted(config.parent.name for config in path.glob("*/config.pbtxt"))
    if not models:
        raise RepositoryError(
            path,
            "is not a model repository: no folder in it has a config.pbtxt",
            remedy=_EXPORT,
        )
    if not (path / RECEIPT).is_file():
        raise RepositoryError(
            path,
            f"has models but no {RECEIPT}, which an export writes last",
            remedy="Export it again.",
        )
    return Repository(path, tuple(models))
