"""A server's private directory, and why all that Triton starts is reached through it.

Triton's Python backend starts each stub with ``bash -c`` and quotes nothing, so a space in
a path splits it and ``$(…)`` in a path is run (tried).  What reaches that command is the
backend directory, the model's path, and the model's name.  The first two are therefore
inside this directory, whose path is plain, and the models behind a link.

Source: triton-inference-server/python_backend, ``src/stub_launcher.cc``, release 24.10.
"""

from __future__ import annotations

import re
import tempfile
from pathlib import Path
from typing import Final

from megatick_server.errors import InstallationError

PREFIX: Final = "megatick-"
MODELS: Final = "models"
"""The link to what Triton is to load."""

_PLAIN: Final = re.compile(r"[A-Za-z0-9_./+-]+")
PLAIN_CHARACTERS: Final = "letters, digits and _ . / + -"


def is_plain(text: str) -> bool:
    """Tell whether a shell reads this as one word, and as itself."""
    return _PLAIN.fullmatch(text) is not None


def temporary_folder() -> Path:
    """Find where private directories may be made.

    Raises:
        InstallationError: a shell would not read its path as it is written.
    """
    try:
        folder = Path(tempfile.gettempdir()).absolute()
    except FileNotFoundError as error:
        raise InstallationError(
            "no folder for temporary files can be written to",
            remedy="Set TMPDIR to one that can.",
        ) from error
    if not is_plain(str(folder)):
        raise InstallationError(
            f"the folder for temporary files is {str(folder)!r}, and Triton's Python "
            "backend hands such a path to a shell, unquoted",
            remedy=f"Set TMPDIR to a folder whose path has only {PLAIN_CHARACTERS}.",
        )
    return folder


def make_private() -> Path:
    """Make a directory for one server.

    Returns:
        Its path: mode 0700, and plain.  The caller removes it.

    Raises:
        InstallationError: it cannot be made.
    """
    folder = temporary_folder()
    try:
        return Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    except OSError as error:
        raise InstallationError(
            f"no directory can be made in {folder}: {error.strerror}",
            remedy="Set TMPDIR to a folder where one can.",
        ) from error


def show_models(directory: Path, models: Path) -> None:
    """Let the private directory's link lead there, from one moment to the next.

    Args:
        directory: from ``make_private``.
        models: a folder of models; an absolute path of any characters.

    Raises:
        InstallationError: the directory takes no link, or is gone.
    """
    coming = directory / f"{MODELS}.new"
    try:
        coming.unlink(missing_ok=True)
        coming.symlink_to(models)
        coming.replace(directory / MODELS)
    except OSError as error:
        raise InstallationError(
            f"{directory} takes no link: {error.strerror}",
            remedy="Make room there, let nothing clean it, and start the server again.",
        ) from error
