"""deploy/container/Containerfile and .dockerignore against what they name."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any, Final

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from typer.main import get_command

from megatick_cli.app import app
from megatick_server.launcher import ServeOptions

ROOT: Final = Path(__file__).parents[2]
PROJECT: Final = tomllib.loads((ROOT / "pyproject.toml").read_text())
EXTRAS: Final = ("cli", "client", "server")


def instructions() -> list[tuple[str, str]]:
    """Name and rest of each instruction, its lines joined."""
    text = (ROOT / "deploy" / "container" / "Containerfile").read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    joined = "\n".join(lines).replace("\\\n", "")
    return [
        (line.split()[0], line.partition(" ")[2]) for line in joined.splitlines() if line
    ]


def all_of(name: str) -> list[str]:
    return [rest for found, rest in instructions() if found == name]


def only(name: str) -> str:
    [rest] = all_of(name)
    return rest


def parse(command: list[str]) -> dict[str, Any]:
    """What the real command line reads; raises where it would refuse."""
    program, name, *arguments = command
    assert program == "megatick"
    subcommand = get_command(app).commands[name]  # type: ignore[attr-defined]
    with subcommand.make_context(name, arguments) as context:
        return dict(context.params)


def patterns() -> list[str]:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


def test_a_build_sees_what_the_wheel_is_made_of_and_nothing_else() -> None:
    """So neither build/, .venv, .git nor tests, and every package that is added."""
    wheel = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]
    folders = {
        Path(each).parts[0] for each in (*wheel["packages"], *wheel["force-include"])
    }
    files = {PROJECT["project"]["readme"], *PROJECT["project"]["license-files"]}
    first, *others = patterns()

    seen = {each[1:] for each in others if each.startswith("!")}
    assert first == "*"
    assert seen == folders | files | {"pyproject.toml", "constraints.txt"}
    assert all((ROOT / each).exists() for each in seen)
    # After the last exception, or it would let them in again.
    assert others[len(seen) :] == ["**/__pycache__"]


def test_what_is_copied_exists_and_is_seen() -> None:
    sources = [
        source
        for copied in all_of("COPY")
        if not copied.startswith("--from=")
        for source in copied.split()[:-1]
    ]

    assert sources == ["constraints.txt", "pyproject.toml", "."]
    assert {f"!{source}" for source in sources if source != "."} <= set(patterns())


def test_what_is_copied_from_a_stage_is_made_there() -> None:
    stages = {each.split(" AS ")[1]: "" for each in all_of("FROM") if " AS " in each}
    stage = ""
    for name, rest in instructions():
        if name == "FROM":
            stage = rest.partition(" AS ")[2]
        elif name == "RUN":
            stages[stage] += rest
        elif name == "COPY" and rest.startswith("--from="):
            origin, source, _ = rest.removeprefix("--from=").split()
            assert f" {source} " in stages[origin]


def test_the_packages_are_those_of_serving_and_calling() -> None:
    """The program in the first RUN, run here, on the real pyproject.toml."""
    words = shlex.split(all_of("RUN")[0])
    program = words[words.index("-c") + 1]
    printed = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()

    extras = PROJECT["project"]["optional-dependencies"]
    wanted = [need for name in EXTRAS for need in extras[name]]
    assert sorted(printed) == sorted([*PROJECT["project"]["dependencies"], *wanted])
    named = {Requirement(each).name for each in printed}
    assert {"nvidia-pytriton", "openvino", "tritonclient", "typer"} <= named
    # An extra of Megatick itself would have pip look for a Megatick elsewhere.
    assert not named & {"megatick", "torch", "onnx"}


def test_packages_are_pinned() -> None:
    words = shlex.split(all_of("RUN")[0])
    installed = words[words.index("install") : words.index("find")]
    assert installed[-5:-1] == ["-c", "constraints.txt", "-r", "requirements.txt"]
    assert "--no-deps" in shlex.split(all_of("RUN")[1])


def test_every_stage_has_one_python_that_the_project_runs_on() -> None:
    bases = {each.split()[0] for each in all_of("FROM")} - {"packages"}
    [base] = bases
    version = re.fullmatch(r"python:(3\.\d+)-slim-bookworm", base)

    assert version is not None
    assert SpecifierSet(PROJECT["project"]["requires-python"]).contains(version[1])


def test_what_runs_is_a_server_that_the_network_can_reach() -> None:
    options = parse([*json.loads(only("ENTRYPOINT")), *json.loads(only("CMD"))])

    assert options["repository"] == Path("/repository")
    assert (options["address"], options["metrics_address"]) == ("0.0.0.0", "0.0.0.0")
    # Docker's ten seconds from asking to killing.
    assert options["stop_timeout"] < 10
    # Unless it is named, Docker takes every signal for a stop, and restarts it no more.
    assert only("STOPSIGNAL") == "SIGTERM"
    exposed = {int(port) for port in only("EXPOSE").split()}
    assert exposed == {options["grpc_port"], options["metrics_port"]}
    assert options["http_port"] is None
    assert not options["opened"]


def test_what_docker_run_adds_holds() -> None:
    added = ["/models/current", "--address", "127.0.0.1", "--cpus", "1"]
    options = parse([*json.loads(only("ENTRYPOINT")), *added])

    assert options["repository"] == Path("/models/current")
    assert (options["address"], options["cpus"]) == ("127.0.0.1", 1)


def test_what_the_page_shows_is_accepted() -> None:
    page = (ROOT / "docs" / "container.md").read_text().replace("\\\n", "")
    commands = re.findall(r"^ {4,}(docker run .*)$", page, re.M)
    assert len(commands) == 3

    for words in map(shlex.split, commands):
        image = max(n for n, word in enumerate(words) if word == "megatick")
        given = words[image + 1 :] or json.loads(only("CMD"))
        parse([*json.loads(only("ENTRYPOINT")), *given])
        if "--health-cmd" in words:
            parse(shlex.split(words[words.index("--health-cmd") + 1]))
    assert [words for words in commands if "--health-cmd" in words]


def test_its_health_is_asked_where_it_listens() -> None:
    flags, _, command = only("HEALTHCHECK").partition(" CMD ")
    options = parse(json.loads(command))

    assert options["address"] == f"127.0.0.1:{ServeOptions().grpc_port}"
    timeout = re.search(r"--timeout=(\d+)s", flags)
    assert timeout is not None
    assert options["timeout_s"] < int(timeout[1])


def test_it_runs_as_nobody_that_owns_anything() -> None:
    last = [name for name, _ in instructions()].index("USER")
    user = re.fullmatch(r"(\d+):(\d+)", only("USER"))

    assert user is not None  # a number, so that Kubernetes can tell it is not root
    assert 0 not in map(int, user.groups())
    # Nothing is copied or run after it, which would then be the user's own to change.
    assert {"COPY", "RUN"}.isdisjoint(name for name, _ in instructions()[last:])


@pytest.mark.parametrize(
    ("label", "value"),
    [
        ("title", PROJECT["project"]["name"]),
        ("version", PROJECT["project"]["version"]),
        ("licenses", PROJECT["project"]["license"]),
    ],
)
def test_labels(label: str, value: str) -> None:
    labels = dict(each.split("=", 1) for each in shlex.split(only("LABEL")))
    assert labels[f"org.opencontainers.image.{label}"] == value
