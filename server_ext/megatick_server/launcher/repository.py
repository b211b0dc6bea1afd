"""The folder that is served: is it a whole model repository?"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from megatick_contract.files import UNFINISHED_SUFFIX
from megatick_contract.repository import RECEIPT_FILE
from megatick_server.errors import RepositoryError
from megatick_server.launcher.private import PLAIN_CHARACTERS, is_plain

_EXPORT: Final = "`megatick export` writes one."
_PYTHON: Final = re.compile(r"""^\s*backend\s*:\s*["']python["']""", re.M)
_FILE: Final = re.compile(
    r"""^\s*default_model_filename\s*:\s*["'](?P<name>[^"']+)""", re.M
)


@dataclass(frozen=True)
class Repository:
    """A model repository that is whole, as far as its folders can tell.

    Attributes:
        path: absolute.
        models: names, sorted.
        model_digest: of the model that was exported, by its receipt; empty where that
            says none.
    """

    path: Path
    models: tuple[str, ...]
    model_digest: str = ""


def check_repository(path: Path) -> Repository:
    """Look at the folders and configs; no model is opened.

    Args:
        path: a folder of model folders, each with its ``config.pbtxt``, and of the
            ``receipt.json`` that the exporter writes last.

    Raises:
        RepositoryError: it is absent, half-written, or something else.
    """
    path = path.absolute()
    for unfinished in _unfinished(path):
        raise RepositoryError(
            unfinished,
            "was never finished: its export failed, or is still running",
            remedy="Delete it and export again.",
        )
    if not path.is_dir():
        problem = "is a file" if path.exists() else "does not exist"
        raise RepositoryError(
            path, f"{problem}, expected a model repository", remedy=_EXPORT
        )
    configs = sorted(path.glob("*/config.pbtxt"))
    if not configs:
        raise RepositoryError(
            path,
            "is not a model repository: no folder in it has a config.pbtxt",
            remedy=_where_instead(path) or _EXPORT,
        )
    if not (path / RECEIPT_FILE).is_file():
        raise RepositoryError(
            path,
            f"has models but no {RECEIPT_FILE}, which an export writes last",
            remedy="Export it again.",
        )
    for config in configs:
        try:
            _check_model(config)
        except OSError as error:
            raise RepositoryError(
                config.parent,
                f"cannot be read: {error.strerror}",
                remedy="Let this user read it.",
            ) from error
    models = tuple(config.parent.name for config in configs)
    return Repository(path, models, _digest(path / RECEIPT_FILE))


def _digest(receipt: Path) -> str:
    try:
        return str(json.loads(receipt.read_bytes()).get("model_digest", ""))
    except OSError as error:
        raise RepositoryError(
            receipt,
            f"cannot be read: {error.strerror}",
            remedy="Let this user read it.",
        ) from error
    except (ValueError, AttributeError) as error:
        raise RepositoryError(
            receipt, "is no JSON object", remedy="Export it again."
        ) from error


def _where_instead(path: Path) -> str | None:
    """Name the repositories that lie in a folder; None if it has none."""
    inside = sorted(
        receipt.parent
        for receipt in path.glob(f"*/{RECEIPT_FILE}")
        if any(receipt.parent.glob("*/config.pbtxt"))
    )
    return f"Do you mean {' or '.join(map(str, inside))}?" if inside else None


def _unfinished(path: Path) -> Iterator[Path]:
    """Find folders that an export left: the path, in it, or what was to become the path."""
    if path.name.endswith(UNFINISHED_SUFFIX):
        found = [path]
    elif path.exists():
        found = [*path.glob(f"*{UNFINISHED_SUFFIX}")]
    else:
        beside = path.parent.glob(f".*{UNFINISHED_SUFFIX}")
        found = [each for each in beside if each.name.startswith(f".{path.name}.")]
    yield from filter(Path.is_dir, found)


def _check_model(config: Path) -> None:
    """Refuse a model on which Triton would hang instead of failing.

    It waits for ever for a Python step without its file (tried for 120 s), and for one
    whose name a shell reads otherwise.
    """
    folder = config.parent
    if not is_plain(folder.name):
        raise RepositoryError(
            folder,
            "is a model's name that Triton hands to a shell, unquoted",
            remedy=f"Rename it with only {PLAIN_CHARACTERS}.",
        )
    check_readable(config)
    text = read_config(config)
    if _PYTHON.search(text) is None:
        return
    for code in model_files(folder, text, "model.py"):
        if not code.is_file():
            raise RepositoryError(
                code,
                "is missing, and its model is a Python step",
                remedy="Export it again.",
            )


def check_readable(path: Path) -> None:
    """Refuse what has a file's place and whose reading might never end.

    Raises:
        RepositoryError: it is a pipe, which would be waited for, a socket or a device.
    """
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise RepositoryError(
            path,
            "is a pipe, a socket or a device, expected a file or a folder",
            remedy="Remove it, or export again.",
        )


def read_config(config: Path) -> str:
    """Read a model's config as text, whatever its bytes."""
    return config.read_text(encoding="utf-8", errors="replace")


def model_files(folder: Path, config: str, default: str) -> list[Path]:
    """The file that Triton will look for in each version of a model.

    Args:
        folder: the model's.
        config: its text.
        default: the file's name where the config gives none.
    """
    named = _FILE.search(config)
    name = named["name"] if named else default
    versions = sorted(each for each in folder.iterdir() if each.name.isdecimal())
    return [version / name for version in versions]
