"""The file that a command writes at its end."""

from __future__ import annotations

from pathlib import Path

import typer


def require_folder(out: Path) -> None:
    """Refuse a file whose folder is not there, before minutes of work and not after."""
    if not out.absolute().parent.is_dir():
        raise typer.BadParameter(f"there is no folder {out.parent}", param_hint="--out")
