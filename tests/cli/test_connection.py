"""The commands that call a server, against the real Triton with mutual TLS and a key."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from certificates import Authority
from click import unstyle
from stand_in import serve_stand_in
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_cli.loadtest import cache_folder
from megatick_client import ServerUnavailable, Unauthenticated
from megatick_client.load import PerfAnalyzerError
from megatick_client.load.perf_analyzer import find_perf_analyzer
from megatick_server.launcher import (
    AccessKey,
    Api,
    ServeOptions,
    ServerTls,
    TritonServer,
)
from megatick_server.launcher.keys import CALLER_KEY, GRPC_PREFIX

if TYPE_CHECKING:
    from exported import Exported

KEY = "the-key-0123456789abcdef"
NAME = "megatick.test"
COMMANDS = ("score", "health", "batch run", "batch resume", "verify", "loadtest", "replay")

# A text of one plus sign has the score (2 - 1) / (3 + 1).
TEXT, SCORE = "+", 0.25


@dataclass(frozen=True)
class Protected:
    """What its callers need."""

    ca: Path
    certificate: Path
    key: Path
    caller_key: Path
    served: ServerTls

    @property
    def tls(self) -> tuple[str, ...]:
        """The options of TLS; the server's certificate is not for its address."""
        return (
            *("--tls-ca", str(self.ca), "--tls-server-name", NAME),
            *("--tls-certificate", str(self.certificate), "--tls-key", str(self.key)),
        )

    @property
    def options(self) -> tuple[str, ...]:
        return (*self.tls, "--caller-key-file", str(self.caller_key))


@pytest.fixture(scope="module")
def protected(tmp_path_factory: pytest.TempPathFactory) -> Protected:
    folder = tmp_path_factory.mktemp("protected")
    authority = Authority(folder)
    server, caller = authority.issue(NAME), authority.issue("caller", file="caller")
    key = folder / "caller.txt"
    key.write_text(f"{KEY}\n")
    tls = ServerTls(server.certificate, server.key, authority.ca)
    return Protected(authority.ca, caller.certificate, caller.key, key, tls)


@pytest.fixture(scope="module")
def address(
    protected: Protected, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """Where the stand-in models are served, to those who have everything."""
    folder = tmp_path_factory.mktemp("stand_in")
    with serve_stand_in(folder, tls=protected.served, caller_key=AccessKey(KEY)) as server:
        yield server.endpoints.grpc


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text(f"text\n{TEXT}\n")
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    """Run ``megatick`` as the shell would; its status, stdout and stderr."""
    result = CliRunner().invoke(app, [*map(str, arguments)], env={"COLUMNS": "300"})
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, unstyle(result.stderr)


@pytest.mark.triton
def test_score(protected: Protected, address: str) -> None:
    status, printed, _ = run(
        *("score", TEXT, "--json", "--address", address, *protected.options)
    )

    assert status == 0
    assert json.loads(printed)["score"] == SCORE


@pytest.mark.triton
def test_headers_of_a_file(protected: Protected, address: str, tmp_path: Path) -> None:
    """Triton asks for one, as a proxy would for a token; the other it never reads."""
    file = tmp_path / "headers.txt"
    file.write_text(f"Authorization: Bearer a:b\n\n{GRPC_PREFIX}{CALLER_KEY}:{KEY}\n")
    options = (*protected.tls, "--header-file", file)

    status, printed, _ = run("score", TEXT, "--json", "--address", address, *options)

    assert status == 0
    assert json.loads(printed)["score"] == SCORE


@pytest.mark.triton
def test_what_is_not_given_is_what_the_server_misses(
    protected: Protected, address: str
) -> None:
    with pytest.raises(Unauthenticated):
        run("score", TEXT, "--address", address, "--timeout-s", 5, *protected.tls)
    with pytest.raises(ServerUnavailable, match="closed the connection"):
        run("score", TEXT, "--address", address, "--timeout-s", 5)


@pytest.mark.triton
def test_health_needs_no_key(protected: Protected, address: str) -> None:
    reach = ("--address", address)

    assert run("health", *reach, *protected.tls)[:2] == (0, f"{address} is ready\n")
    with pytest.raises(ServerUnavailable, match="closed the connection"):
        run("health", *reach, "--timeout-s", 5)


@pytest.mark.triton
def test_batch(protected: Protected, address: str, tmp_path: Path) -> None:
    """It is stopped for want of a key, which its resumption has."""
    source, output = tmp_path / "news.csv", tmp_path / "scores.jsonl"
    source.write_text(f"text\n{TEXT}\n")
    reach = ("--address", address)

    with pytest.raises(Exception, match="lets in only callers with a credential"):
        run("batch", source, output, *reach, *protected.tls, "--patience-s", 0)
    kept = (tmp_path / "scores.jsonl.job/job.json").read_text()
    status, printed, _ = run("batch", "resume", output, *reach, *protected.options)

    assert (status, json.loads(output.read_text())["score"]) == (0, SCORE)
    assert "1 of 1 rows scored" in printed
    assert str(protected.ca) not in kept
    for file in tmp_path.rglob("*"):
        assert file.is_dir() or KEY.encode() not in file.read_bytes()

    other = tmp_path / "at_once.jsonl"
    assert run("batch", source, other, *reach, *protected.options)[0] == 0
    assert json.loads(other.read_text())["score"] == SCORE


@pytest.mark.triton
def test_verify(exported: Exported, protected: Protected, tmp_path: Path) -> None:
    repository = tmp_path / "repository"
    shutil.copytree(exported.out, repository)
    options = ServeOptions(
        grpc_port=0, metrics_port=None, tls=protected.served, caller_key=AccessKey(KEY)
    )
    with TritonServer(repository, options) as server:
        reach = ("--address", server.endpoints.grpc, *protected.options)
        status, printed, _ = run("verify", repository, "--json", *reach)

    assert status == 0
    assert [each["good"] for each in json.loads(printed)["answers"]] == [True, True]


@pytest.mark.triton
def test_replay(protected: Protected, address: str, texts: Path, tmp_path: Path) -> None:
    status, printed, _ = run(
        *("replay", texts, "--address", address, "--schedule", "constant"),
        *("--rate", 20, "--duration", 0.5, "--connections", 2, "--json"),
        *("--timeout-ms", 30_000, "--out", tmp_path / "out", *protected.options),
    )

    assert status == 0
    told = json.loads(printed)
    assert [(each["name"], each["calls"]) for each in told["outcomes"]] == [
        ("answered", 10)
    ]
    for file in (tmp_path / "out").iterdir():
        assert KEY not in file.read_text()


@pytest.mark.triton
def test_a_replay_without_the_key(protected: Protected, address: str, texts: Path) -> None:
    with pytest.raises(Unauthenticated):
        run("replay", texts, "--address", address, *protected.tls)


@pytest.mark.triton
def test_loadtest(texts: Path, tmp_path: Path) -> None:
    """perf_analyzer itself, over mutual TLS to a server named as its address."""
    try:
        find_perf_analyzer(cache_folder(), environment=os.environ)
    except PerfAnalyzerError as error:
        pytest.skip(str(error))
    authority = Authority(tmp_path / "pem")
    server, caller = authority.issue("127.0.0.1"), authority.issue("me", file="caller")
    tls = ServerTls(server.certificate, server.key, authority.ca)
    opened = frozenset({Api.MODEL_CONFIG, Api.STATISTICS})
    with serve_stand_in(tmp_path / "models", tls=tls, opened=opened) as triton:
        status, printed, _ = run(
            *("loadtest", texts, "--address", triton.endpoints.grpc, "--json"),
            *("--concurrency", 2, "--window", 1, "--stability", 999),
            *("--out", tmp_path / "out", "--tls-ca", authority.ca),
            *("--tls-certificate", caller.certificate, "--tls-key", caller.key),
        )

    assert status == 0
    assert json.loads(printed)["levels"][0]["rows_per_s"] > 0


def test_a_key_is_not_put_where_others_read_it(protected: Protected, texts: Path) -> None:
    status, _, said = run("loadtest", texts, "--address", "127.0.0.1:1", *protected.options)

    assert status == 2
    assert "every user of this machine can read them" in " ".join(said.split())
    assert "`megatick replay` takes them from a file" in said


@pytest.mark.parametrize(
    "command",
    [
        pytest.param(("verify", "REPOSITORY"), id="verify"),
        pytest.param(("loadtest", "TEXTS", "--repository", "REPOSITORY"), id="loadtest"),
    ],
)
def test_a_server_of_the_commands_own_is_not_protected(
    command: tuple[str, ...], protected: Protected
) -> None:
    status, _, said = run(*command, "--tls-ca", protected.ca)

    assert status == 2
    assert "give --address as well" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_calls_a_server_has_the_options(command: str) -> None:
    told = unstyle(run(*command.split(), "--help")[1])

    for option in ("", "-ca", "-certificate", "-key", "-server-name"):
        assert f" --tls{option} " in told
    assert " --caller-key-file " in told
    assert " --header-file " in told


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(
            ["--tls-certificate", "caller.pem"],
            "expected certificate and key together, found no key",
            id="half-a-pair",
        ),
        pytest.param(
            ["--tls-ca", "none.pem"],
            "tls: ca: expected a PEM file, found none.pem: No such file",
            id="no-file",
        ),
        pytest.param(
            ["--caller-key-file", "short.txt"],
            "caller key: expected one line of at least 16 letters",
            id="no-key",
        ),
        pytest.param(
            ["--header-file", "short.txt"],
            "headers: short.txt, line 1: expected NAME: VALUE",
            id="no-header",
        ),
        pytest.param(
            ["--header-file", "none.txt"],
            "headers: expected a UTF-8 file, found none.txt: No such file",
            id="no-header-file",
        ),
        pytest.param(
            ["--header-file", "odd.txt"],
            "headers: token: expected printable ASCII, found something else",
            id="no-ascii",
        ),
    ],
)
def test_files_that_are_not_what_they_should_be_are_bad_usage(
    options: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("short.txt").write_text("hush")
    Path("odd.txt").write_text("token: hush\N{BELL}", "utf-8")

    status, printed, said = run("score", TEXT, *options)

    assert (status, printed) == (2, "")
    assert message in " ".join(said.replace("│", " ").split())
    assert "hush" not in said
