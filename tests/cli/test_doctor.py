"""``megatick doctor``: what it finds decides its exit status."""

from __future__ import annotations

import json
import socket
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_cli.doctor import cpu_quota
from megatick_server.errors import InstallationError
from megatick_server.launcher import endpoints, installation


def report() -> tuple[int, dict[str, Any]]:
    """The exit status, and each check by its name."""
    result = CliRunner().invoke(app, ["doctor", "--json"])
    found = json.loads(result.stdout)
    assert found["ready"] is (result.exit_code == 0)
    return result.exit_code, {each["name"]: each for each in found["checks"]}


@pytest.mark.triton
def test_this_environment_is_ready() -> None:
    status, checks = report()

    assert status == 0
    assert checks["tritonserver"]["state"] == "ok"
    assert checks["numpy"]["found"] == metadata.version("numpy")
    assert {name for name, each in checks.items() if each["state"] == "missing"} == set()


def test_the_table_says_what_to_do(no_server: None) -> None:
    result = CliRunner().invoke(app, ["doctor"], env={"COLUMNS": "200"})

    assert result.exit_code == 1
    assert "no server here" in result.stdout
    assert "`pip install megatick[server]`" in result.stdout


@pytest.fixture
def no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    """An environment in which the server does not start."""

    def fail() -> None:
        raise InstallationError("no server here", remedy="`pip install megatick[server]`")

    monkeypatch.setattr(installation, "try_installation", fail)


@pytest.fixture
def server_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Spare the tests of other checks the start of the real one."""
    monkeypatch.setattr(installation, "try_installation", lambda: None)


def pretend(monkeypatch: pytest.MonkeyPatch, package: str, version: str | None) -> None:
    """Let one distribution have another version, or be absent."""
    real = metadata.version

    def found(name: str) -> str:
        if name != package:
            return real(name)
        if version is None:
            raise metadata.PackageNotFoundError(name)
        return version

    monkeypatch.setattr(metadata, "version", found)


@pytest.mark.usefixtures("server_starts")
def test_a_missing_package_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "tokenizers", None)

    status, checks = report()

    assert status == 1
    assert checks["tokenizers"]["state"] == "missing"
    assert "megatick[server]" in checks["tokenizers"]["remedy"]


@pytest.mark.usefixtures("server_starts")
def test_numpy_2_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "numpy", "2.4.1")

    status, checks = report()

    assert status == 1
    assert "2.4.1" in checks["numpy"]["found"]


@pytest.mark.usefixtures("server_starts")
def test_a_missing_data_package_is_only_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, "skfolio", None)

    status, checks = report()

    assert status == 0
    assert checks["skfolio"]["state"] == "note"
    assert "--no-deps skfolio" in checks["skfolio"]["remedy"]


@pytest.mark.usefixtures("server_starts")
def test_a_taken_port_is_only_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        real = endpoints.choose_endpoints
        monkeypatch.setattr(
            endpoints,
            "choose_endpoints",
            lambda options: real(type(options)(grpc_port=port)),
        )

        status, checks = report()

    assert status == 0
    assert checks["ports"]["state"] == "note"
    assert str(port) in checks["ports"]["found"]


@pytest.mark.parametrize(
    ("files", "cores"),
    [
        pytest.param({"cpu.max": "150000 100000\n"}, 1.5, id="v2-1.5-cores"),
        pytest.param({"cpu.max": "max 100000\n"}, None, id="v2-unlimited"),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "200000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            2.0,
            id="v1-2-cores",
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            None,
            id="v1-unlimited",
        ),
        pytest.param({}, None, id="no-cgroup"),
    ],
)
def test_reads_the_quota(
    files: dict[str, str], cores: float | None, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)

    assert cpu_quota(tmp_path) == cores
