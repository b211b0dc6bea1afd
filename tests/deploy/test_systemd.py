"""The unit of systemd: held to its own check, and to the command that it starts."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main
from programs import find_tool

from megatick_cli import app
from megatick_server.launcher import ServeOptions

UNIT = Path(__file__).parents[2] / "deploy" / "systemd" / "megatick.service"


@pytest.fixture
def service() -> dict[str, str]:
    """Each setting; of one that is there twice, both values, a line each."""
    _, _, section = UNIT.read_text().partition("[Service]\n")
    lines = section.partition("\n[")[0].splitlines()
    found: dict[str, str] = {}
    for name, _, value in (each.partition("=") for each in lines if each[:1] not in "#"):
        found[name] = f"{found[name]}\n{value}" if name in found else value
    return found


def test_systemd_agrees(tmp_path: Path, service: dict[str, str]) -> None:
    analyze = find_tool("systemd-analyze")
    (unit := tmp_path / UNIT.name).write_text(
        UNIT.read_text().replace("/opt/megatick/bin/megatick", sys.executable)
    )

    said = subprocess.run(
        [analyze, "verify", unit], capture_output=True, text=True, check=False
    )

    assert (said.returncode, said.stderr) == (0, "")


def test_it_starts_a_command_that_there_is(service: dict[str, str]) -> None:
    program, name, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/bin/megatick")
    command = typer.main.get_command(app.app).commands[name]  # type: ignore[attr-defined]

    context = command.make_context(name, arguments, resilient_parsing=False)

    assert context.params["repository"] == Path("/srv/megatick/current")


def test_it_waits_longer_than_the_server_may_take(service: dict[str, str]) -> None:
    defaults = ServeOptions()
    assert float(service["TimeoutStartSec"]) > defaults.ready_timeout_s
    # The keeper ends what does not, and the command waits for that.
    assert float(service["TimeoutStopSec"]) > defaults.stop_timeout_s + 5


def test_only_the_command_is_signalled(service: dict[str, str]) -> None:
    """Triton's steps die of SIGTERM, with what they were asked."""
    assert service["KillMode"] == "mixed"
    assert service["Type"] == "notify"


def test_a_reload_lasts_until_the_command_has_said_that_it_loads(
    service: dict[str, str],
) -> None:
    """Systemd takes it for done when the last of these ends, unless it was told by then."""
    assert service["ExecReload"].splitlines() == ["kill -USR1 $MAINPID", "sleep 1"]
