"""The command before any of its sub-commands is known."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from typer.core import TyperGroup
from typer.main import get_command

from megatick_cli.app import app

MEGATICK = Path(sys.executable).with_name("megatick")

STOPPED_WHILE_IT_LOADS = """
import signal, sys
import megatick_cli

class Loading:
    def find_spec(self, name, path, target=None):
        if name == "megatick_cli.app":
            signal.raise_signal(signal.SIGTERM)

sys.meta_path.insert(0, Loading())
megatick_cli.main()
"""


def test_a_stop_while_it_loads_is_heeded_and_not_suffered() -> None:
    """A container's first process would otherwise run on until it is killed."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_WHILE_IT_LOADS], check=False, timeout=60
    )

    assert done.returncode == 128 + 15  # -15 were the kernel's doing


def test_a_name_in_other_bytes_than_utf_8_is_refused_at_once(tmp_path: Path) -> None:
    """Neither onnx nor pyarrow takes one, and no report could repeat its command."""
    name = os.fsencode(tmp_path) + b"/clean\xff.jsonl"
    (tmp_path / "raw.csv").write_text("text\nup\n")

    done = subprocess.run(
        [MEGATICK, "clean", tmp_path / "raw.csv", "--out", name],
        capture_output=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 2
    assert b"error: expected UTF-8, found other bytes in '" in done.stderr
    assert b"clean\\udcff.jsonl': rename the file" in done.stderr


def commands(group: TyperGroup, name: str = "") -> Iterator[tuple[str, set[str]]]:
    """Each command's name, and the options that it takes."""
    for each, command in group.commands.items():
        if isinstance(command, TyperGroup):
            yield from commands(command, f"{name}{each} ")
        else:
            yield f"{name}{each}", {option for it in command.params for option in it.opts}


def test_whatever_calls_a_server_is_told_its_address_alike() -> None:
    root = get_command(app)
    assert isinstance(root, TyperGroup)

    callers = {name: options for name, options in commands(root) if "--tls-ca" in options}

    assert {"score", "batch run", "audit replay", "loadtest"} <= callers.keys()
    assert [name for name, options in callers.items() if "--address" not in options] == []
