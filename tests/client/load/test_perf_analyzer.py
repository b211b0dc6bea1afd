"""Where perf_analyzer is found, and what is said when it cannot be."""

from __future__ import annotations

import subprocess
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from perf_analyzer import StandIn, write_script

from megatick_client.load import PerfAnalyzerError
from megatick_client.load.perf_analyzer import CURRENT, OLDER, Wheels, find_perf_analyzer

NO_PATH = {"PATH": ""}
Pip = Callable[..., list[list[str]]]


def test_the_one_on_path_is_taken(tmp_path: Path) -> None:
    program = StandIn("Perf Analyzer Version 2.60.0 (commit abc)").install(tmp_path)
    environment = {"PATH": str(tmp_path), "LD_LIBRARY_PATH": "/mine"}

    found = find_perf_analyzer(tmp_path / "cache", environment=environment)

    assert found.program == program
    assert found.version == "Perf Analyzer Version 2.60.0 (commit abc)"
    assert found.environment == environment
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        pytest.param(
            ["echo Hello from perf analyzer"], "Is it NVIDIA's?", id="placeholder"
        ),
        pytest.param(["exit 0"], "says ''", id="says-nothing"),
        pytest.param(
            ['echo "$0: loading libb64.so.0d: no such file" >&2', "exit 127"],
            "perf_analyzer does not load: loading libb64.so.0d: no such file.  Mend or",
            id="lacks-a-library",
        ),
    ],
)
def test_a_program_that_is_not_it_or_does_not_run(
    lines: list[str], message: str, tmp_path: Path
) -> None:
    write_script(tmp_path / "perf_analyzer", *lines)

    with pytest.raises(PerfAnalyzerError) as caught:
        find_perf_analyzer(tmp_path, environment={"PATH": str(tmp_path)})

    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_no_program(tmp_path: Path) -> None:
    (tmp_path / "perf_analyzer").write_bytes(b"\x7fELF, but not really")
    (tmp_path / "perf_analyzer").chmod(0o755)

    with pytest.raises(PerfAnalyzerError, match=r"does not start: .*Exec format error"):
        find_perf_analyzer(tmp_path, environment={"PATH": str(tmp_path)})


@pytest.fixture
def pip(monkeypatch: pytest.MonkeyPatch) -> Pip:
    """``pip(brings=..., fails=...)`` makes environments without the network.

    In its place a program of the shell notes what it was asked for, and then installs the
    stand-in, or fails with a last line.  Returns the list of what pip was asked for.
    """

    def stage(brings: StandIn | None = None, fails: str = "") -> list[list[str]]:
        asked: list[list[str]] = []
        run = subprocess.run

        def create(folder: Path, **_: Any) -> None:
            (folder / "bin").mkdir(parents=True)

        def instead(command: list[str], **options: Any) -> Any:
            if "pip" not in command:
                return run(command, **options)
            asked.append(command)
            if brings is not None:
                brings.install(Path(command[0]).parent)
            return subprocess.CompletedProcess(command, int(bool(fails)), "", fails)

        monkeypatch.setattr(venv, "create", create)
        monkeypatch.setattr(subprocess, "run", instead)
        return asked

    return stage


@pytest.mark.parametrize(
    ("glibc", "wheels"),
    [
        pytest.param("glibc 2.36", OLDER, id="debian-12"),
        pytest.param("glibc 2.39", CURRENT, id="ubuntu-24.04"),
        pytest.param("glibc 2.4", OLDER, id="not-compared-as-text"),
        pytest.param("", OLDER, id="another-c-library"),
    ],
)
def test_the_wheel_that_the_c_library_can_run(
    glibc: str, wheels: Wheels, pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.confstr", lambda name: glibc)
    asked = pip(brings=StandIn())

    found = find_perf_analyzer(tmp_path, environment=NO_PATH)

    assert found.program == tmp_path / wheels.name / "bin" / "perf_analyzer"
    (command,) = asked
    assert tuple(command[-len(wheels.requirements) :]) == wheels.requirements
    assert all("==" in each for each in wheels.requirements)


def test_it_is_installed_once(pip: Pip, tmp_path: Path) -> None:
    asked = pip(brings=StandIn())

    first, second = (find_perf_analyzer(tmp_path, environment=NO_PATH) for _ in range(2))

    assert first == second
    assert len(asked) == 1


def test_its_libraries_are_searched_before_the_users(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.confstr", lambda name: "glibc 2.36")
    pip(brings=StandIn())
    find_perf_analyzer(tmp_path, environment=NO_PATH)
    assert OLDER.libraries is not None
    libraries = tmp_path / OLDER.name / "lib/python3.11/site-packages" / OLDER.libraries
    libraries.mkdir(parents=True)

    found = find_perf_analyzer(tmp_path, environment={**NO_PATH, "LD_LIBRARY_PATH": "/my"})

    assert found.environment["LD_LIBRARY_PATH"] == f"{libraries}:/my"
    assert found.environment["PATH"] == ""


def test_a_failed_installation_leaves_nothing_and_is_tried_again(
    pip: Pip, tmp_path: Path
) -> None:
    pip(fails="a warning\nERROR: No matching distribution found\n")
    with pytest.raises(PerfAnalyzerError) as caught:
        find_perf_analyzer(tmp_path, environment=NO_PATH)

    assert "==" in str(caught.value)
    assert "ERROR: No matching distribution found.  Put perf_analyzer on PATH" in str(
        caught.value
    )
    assert list(tmp_path.iterdir()) == []
    asked = pip(brings=StandIn())
    find_perf_analyzer(tmp_path, environment=NO_PATH)
    assert len(asked) == 1


def test_an_environment_that_was_not_finished_is_made_anew(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after Ctrl+C, which leaves a folder without the mark of a finished one."""
    monkeypatch.setattr("os.confstr", lambda name: "glibc 2.36")
    left = tmp_path / OLDER.name / "bin" / "half"
    left.parent.mkdir(parents=True)
    left.write_text("")
    asked = pip(brings=StandIn())

    find_perf_analyzer(tmp_path, environment=NO_PATH)

    assert len(asked) == 1
    assert not left.exists()


def test_no_environment_can_be_made(tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    cache.write_text("a file where the folder should be")

    with pytest.raises(PerfAnalyzerError, match=r"could be made in .*cache"):
        find_perf_analyzer(cache, environment=NO_PATH)


def test_a_library_that_only_the_system_can_bring_is_named(
    pip: Pip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.confstr", lambda name: "glibc 2.36")
    pip(brings=StandIn())
    program = find_perf_analyzer(tmp_path, environment=NO_PATH).program
    write_script(program, "echo libb64.so.0d: cannot open >&2", "exit 127")

    with pytest.raises(PerfAnalyzerError, match="apt-get install libb64-0d"):
        find_perf_analyzer(tmp_path, environment=NO_PATH)
