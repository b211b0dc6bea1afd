"""What the README tells a reader to type works as printed."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from served import Served
from typer.main import get_command

from megatick_cli.app import app

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.S)


def at_the_tests_server(code: str, served: Served) -> str:
    """The code with this server's ports, and time enough for a busy machine."""
    endpoints = served.server.endpoints
    assert endpoints.http is not None
    for printed, ours in {
        "127.0.0.1:8001": endpoints.grpc,
        "127.0.0.1:8000": endpoints.http,
        "timeout=500_000, client_timeout=0.5": "timeout=30_000_000, client_timeout=30",
    }.items():
        code = code.replace(printed, ours)
    return re.sub(r"timeout_s=[\d.]+", "timeout_s=30", code)


@pytest.mark.triton
@pytest.mark.parametrize("number", range(len(blocks("python"))))
def test_the_python_runs(served: Served, number: int) -> None:
    code = at_the_tests_server(blocks("python")[number], served)

    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.triton
def test_the_curl_line_runs(served: Served) -> None:
    (command,) = blocks("sh")
    program, url, flag, body = shlex.split(at_the_tests_server(command, served))

    assert (program, flag) == ("curl", "-d")
    with urllib.request.urlopen(url, body.encode()) as reply:
        outputs = {output["name"] for output in json.load(reply)["outputs"]}
    assert "SCORE" in outputs


def test_every_command_that_is_named_exists() -> None:
    known = set(get_command(app).commands)  # type: ignore[attr-defined]
    named = set(re.findall(r"megatick ([a-z]+(?:-[a-z]+)*)", "\n".join(commands_in_code())))

    assert named
    assert named <= known


def commands_in_code() -> list[str]:
    """Indented lines and inline code of the README that start with the command."""
    lines = re.findall(r"^    (?:\.venv/bin/)?(megatick .*)$", README, re.M)
    return lines + re.findall(r"`(megatick [^`]*)`", README)


def test_every_make_target_that_is_named_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))

    named = set(re.findall(r"(?:^    |`)make ([a-z]+)", README, re.M))
    assert {"demo", "test", "serve"} <= named
    assert named <= targets


def test_every_folder_of_the_table_exists() -> None:
    rows = re.findall(r"^\| (`[^|]*/`[^|]*) \|", README, re.M)
    folders = [folder for row in rows for folder in re.findall(r"`([\w/]+)/`", row)]

    assert len(folders) >= 9
    assert [folder for folder in folders if not (ROOT / folder).is_dir()] == []
