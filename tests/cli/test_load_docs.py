"""docs/load.md names options and schedules that the commands have."""

from __future__ import annotations

import re
from pathlib import Path

from typer.main import get_command

from megatick_cli.app import app

PAGE = (Path(__file__).parents[2] / "docs" / "load.md").read_text()


def options_of(*commands: str) -> set[str]:
    known = get_command(app).commands  # type: ignore[attr-defined]
    return {
        option
        for command in commands
        for parameter in known[command].params
        for option in parameter.opts
    }


def test_every_option_that_is_named_exists() -> None:
    named = set(re.findall(r"--[a-z][a-z-]+", PAGE))

    assert named
    assert named <= options_of("loadtest", "replay", "serve")


def test_every_schedule_is_described() -> None:
    from megatick_cli.replay import ScheduleChoice

    described = set(re.findall(r"^\| `([a-z]+)` \|", PAGE, re.M))
    assert described == set(ScheduleChoice.__args__)  # type: ignore[attr-defined]
