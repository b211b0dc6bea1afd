"""``megatick serve`` as its user meets it: started, signalled, refused."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from certificates import Authority
from rich.console import Console
from typer.testing import CliRunner
from until import until

from megatick_cli.app import app
from megatick_cli.serving import _Reloads, run_until_signalled
from megatick_server.launcher import Api, ServeOptions, TritonServer
from megatick_server.launcher.private import MODELS, PREFIX

IDENTITY = Path(__file__).parents[1] / "server_ext" / "identity"
FREE_PORTS = ("--grpc-port", "0", "--metrics-port", "0")


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One model, ``identity``, in a folder whose name no other test's process has."""
    version = tmp_path / "repository" / "identity" / "1"
    version.mkdir(parents=True)
    shutil.copy(IDENTITY / "config.pbtxt", version.parent)
    shutil.copy(IDENTITY / "model.py", version)
    (tmp_path / "repository" / "receipt.json").write_text("{}")
    return tmp_path / "repository"


def start(repository: Path, *options: str, **variables: str) -> subprocess.Popen[str]:
    code = "from megatick_cli import main; main()"
    return subprocess.Popen(
        [sys.executable, "-c", code, "serve", str(repository), *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "120", **variables},
    )


@dataclass(frozen=True)
class Serving:
    """The running command, and what it printed until it was ready."""

    process: subprocess.Popen[str]
    shown: str


@pytest.fixture
def serving(repository: Path) -> Iterator[Serving]:
    """The command on free ports, once it says that it serves."""
    process = start(repository, *FREE_PORTS, "--stop-timeout", "60")
    watchdog = threading.Timer(120, process.kill)  # readline() has no timeout
    watchdog.start()
    assert process.stdout is not None
    shown = ""
    while "stops it" not in shown:
        line = process.stdout.readline()
        assert line, process.communicate()
        shown += line
    watchdog.cancel()
    yield Serving(process, shown)
    process.kill()
    process.communicate()


def private_of(serving: Serving) -> Path:
    """The private directory of the command's server, which its processes name."""
    open_files = f"/proc/{serving.process.pid}/fd/"
    found = set()
    for file in Path(tempfile.gettempdir()).glob(f"{PREFIX}*/{MODELS}/*/config.pbtxt"):
        with suppress(OSError):  # no link, or another test's server has just ended
            if str(file.readlink()).startswith(open_files):
                found.add(file.parents[2])
    (private,) = found
    return private


def processes_of(private: Path) -> dict[int, list[str]]:
    """Arguments of each process on this machine that names the directory, by pid."""
    found = {}
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            arguments = file.read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if any(str(private) in each for each in arguments):
            found[int(file.parent.name)] = arguments
    return found


def triton_of(private: Path) -> tuple[int, list[str]]:
    """The pid and arguments of the directory's ``tritonserver``."""
    (found,) = [
        (pid, arguments)
        for pid, arguments in processes_of(private).items()
        if arguments[0].endswith("bin/tritonserver")
    ]
    return found


def segments_of(private: Path) -> Callable[[], list[Path]]:
    """How to list the shared memory of a running server, also once it is gone."""
    _, arguments = triton_of(private)
    (prefix,) = [
        argument.rpartition("=")[2]
        for argument in arguments
        if "shm-region-prefix-name" in argument
    ]
    assert prefix
    return lambda: list(Path("/dev/shm").glob(f"{prefix}*"))


def test_help_names_what_can_be_opened() -> None:
    shown = CliRunner().invoke(app, ["serve", "--help"], env={"COLUMNS": "200"}).stdout

    for api in Api:
        assert api.value in shown
    assert "SECONDS" in shown
    assert "127.0.0.1" in shown


def test_help_starts_without_the_engine() -> None:
    code = (
        "import sys, megatick_cli.serve; "
        "heavy = {'torch', 'openvino', 'grpc', 'tritonclient'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


def test_an_unknown_api_is_bad_usage() -> None:
    result = CliRunner().invoke(app, ["serve", "repository", "--open", "inference"])

    assert result.exit_code == 2


@pytest.mark.triton
@pytest.mark.parametrize("signalled", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_it_clean(
    serving: Serving, repository: Path, signalled: signal.Signals
) -> None:
    segments = segments_of(private := private_of(serving))
    assert segments()
    started = time.monotonic()

    serving.process.send_signal(signalled)
    stdout, stderr = serving.process.communicate(timeout=60)

    assert (serving.process.returncode, stderr) == (0, "")
    assert "Stopped." in stdout
    assert time.monotonic() - started < 50  # it waits for nobody
    assert not processes_of(private)
    assert not private.exists()
    assert not segments()


@pytest.mark.triton
def test_sigusr1_loads_the_repository_again_or_says_why_not(
    serving: Serving, repository: Path
) -> None:
    assert serving.process.stdout is not None
    assert serving.process.stderr is not None
    (repository / "receipt.json").write_text('{"model_digest": "0123456789abcdef"}')

    serving.process.send_signal(signal.SIGUSR1)
    said = serving.process.stdout.readline()
    assert said == f"Serving {repository} as it is now: model 0123456789ab, none before.\n"
    (repository / "identity" / "config.pbtxt").unlink()
    serving.process.send_signal(signal.SIGUSR1)
    problem = serving.process.stderr.readline()
    still = serving.process.stderr.readline()

    assert problem.startswith(f"error: {repository}: is not a model repository")
    assert still == "What was served before is served on.\n"
    serving.process.send_signal(signal.SIGTERM)
    assert serving.process.wait(60) == 0


class Looked:
    """A server: what happens when it is looked at, and how often that was finished."""

    def __init__(self, happens: Callable[[], None]) -> None:
        self.happens, self.finished = happens, 0

    def check(self) -> None:
        self.happens()
        self.finished += 1


def test_a_reload_waits_until_a_dead_step_was_loaded_again() -> None:
    server = Looked(lambda: signal.raise_signal(signal.SIGUSR1))

    with _Reloads() as reloads:
        reloads.wait(server)  # type: ignore[arg-type]

    assert server.finished == 1


def test_a_reload_asked_for_during_a_stop_leaves_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def interrupted(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", interrupted)
    with _Reloads() as reloads:
        with pytest.raises(KeyboardInterrupt):
            reloads.wait(Looked(lambda: None))  # type: ignore[arg-type]
        signal.raise_signal(signal.SIGUSR1)


@pytest.mark.triton
@pytest.mark.parametrize("abstract", [False, True])
def test_a_service_manager_is_told_what_it_does(
    repository: Path, tmp_path: Path, abstract: bool
) -> None:
    address = f"{'@megatick-' if abstract else ''}{tmp_path}/notify"[:100]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(address.replace("@", "\0"))
        manager.settimeout(60)
        process = start(repository, *FREE_PORTS, NOTIFY_SOCKET=address)
        ready = manager.recv(4096).decode()
        process.send_signal(signal.SIGUSR1)
        reloading, again = (manager.recv(4096).decode() for _ in range(2))
        process.send_signal(signal.SIGTERM)
        stopping = manager.recv(4096).decode()
        process.communicate(timeout=30)

    assert ready == again == "READY=1\nSTATUS=Serving model none"
    assert re.fullmatch(r"RELOADING=1\nMONOTONIC_USEC=\d+", reloading)
    assert stopping == "STOPPING=1"
    assert process.returncode == 0


@pytest.mark.triton
def test_a_service_manager_that_hears_nothing_ends_no_server(
    repository: Path, tmp_path: Path
) -> None:
    process = start(repository, *FREE_PORTS, NOTIFY_SOCKET=str(tmp_path / "absent"))
    assert process.stderr is not None
    said = process.stderr.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)

    assert "absent' hears nothing: [Errno 2]" in said
    assert process.returncode == 0


@pytest.mark.triton
def test_says_where_it_listens(serving: Serving) -> None:
    assert "identity" in serving.shown
    assert re.search(r"gRPC +127\.0\.0\.1:\d+", serving.shown)
    assert re.search(r"http://127\.0\.0\.1:\d+/metrics", serving.shown)
    assert "HTTP" not in serving.shown


@pytest.mark.triton
def test_a_killed_launcher_leaves_no_server(serving: Serving, repository: Path) -> None:
    """SIGKILL cannot be caught, so it is the keeper that ends the server."""
    segments = segments_of(private := private_of(serving))
    assert segments()

    serving.process.kill()
    serving.process.communicate()

    until(lambda: not processes_of(private))
    assert not segments()


@pytest.mark.triton
def test_a_server_that_dies_fails_the_command(serving: Serving, repository: Path) -> None:
    pid, _ = triton_of(private := private_of(serving))

    os.kill(pid, signal.SIGKILL)
    _, stderr = serving.process.communicate(timeout=60)

    assert serving.process.returncode == 1
    assert "ended on its own" in stderr
    assert not processes_of(private)


@pytest.mark.triton
def test_a_server_that_runs_already_is_only_waited_for(repository: Path) -> None:
    """As ``megatick demo --keep`` hands it over."""

    class Interrupts(io.StringIO):
        """The terminal of a user who stops it, once, when the panel is there."""

        told = False  # what an interrupt left unwritten is written again

        def write(self, text: str) -> int:
            written = super().write(text)
            if "stops it" in text and not self.told:
                self.told = True
                signal.raise_signal(signal.SIGTERM)
            return written

    shown = Interrupts()
    with TritonServer(repository, ServeOptions(grpc_port=0, metrics_port=None)) as server:
        pid = server.pid
        run_until_signalled(server, Console(file=shown, width=120))

        assert not server.running
    assert server.pid == pid
    assert server.endpoints.grpc in shown.getvalue()
    assert shown.getvalue().endswith("Stopped.\n")


@pytest.mark.parametrize("option", ["--ready-timeout", "--stop-timeout"])
def test_a_timeout_that_never_ends_is_refused(repository: Path, option: str) -> None:
    process = start(repository, *FREE_PORTS, option, "inf")
    stdout, stderr = process.communicate(timeout=120)

    assert process.returncode == 2
    assert "86400 s, found inf" in stderr
    assert stdout == ""


def test_a_name_for_an_address_is_bad_usage(repository: Path) -> None:
    options = ["serve", str(repository), "--address", "localhost"]

    result = CliRunner().invoke(app, options, env={"COLUMNS": "120"})

    assert result.exit_code == 2
    assert "an IPv4 address such as 127.0.0.1, found 'localhost'" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [
        pytest.param(
            ["--tls-certificate", "absent.pem"], "TLS key: expected a file", id="half"
        ),
        pytest.param(
            ["--tls-certificate", "absent.pem", "--tls-key", "absent.key"],
            "TLS certificate: expected a readable PEM file, found 'absent.pem: No such",
            id="absent",
        ),
        pytest.param(
            ["--admin-key-file", "absent"],
            "admin key: expected a file with a key, found 'absent: No such",
            id="no-key",
        ),
    ],
)
def test_a_guard_that_cannot_be_had_is_bad_usage(
    repository: Path, options: list[str], said: str
) -> None:
    result = CliRunner().invoke(
        app, ["serve", str(repository), *options], env={"COLUMNS": "160"}
    )

    assert result.exit_code == 2
    assert said in result.stderr


@pytest.mark.triton
def test_a_server_with_tls_is_served_and_its_keys_are_not_printed(
    repository: Path, tmp_path: Path
) -> None:
    """It shows how to call it, which it does of ``sentiment`` alone."""
    (repository / "identity").rename(repository / "sentiment")
    config = repository / "sentiment" / "config.pbtxt"
    config.write_text(config.read_text().replace("identity", "sentiment"))
    pair = Authority(tmp_path / "authority").issue("localhost")
    (tmp_path / "key").write_text("0123456789abcdef\n")

    process = start(
        repository,
        *(*FREE_PORTS, "--verbose", "--tls-certificate", str(pair.certificate)),
        *("--tls-key", str(pair.key), "--caller-key-file", str(tmp_path / "key")),
    )
    watchdog = threading.Timer(120, process.kill)
    watchdog.start()
    assert process.stdout is not None
    shown = ""
    while "stops it" not in shown and process.poll() is None:
        shown += process.stdout.readline()
    watchdog.cancel()
    process.send_signal(signal.SIGTERM)
    stdout, stderr = process.communicate(timeout=120)

    assert "from megatick_client import Client, Tls" in shown
    assert "tls=Tls(ca=…)" in shown
    assert 'headers={"triton-grpc-protocol-megatick-caller-key": "…"},' in shown
    assert "Started GRPCInferenceService" in stderr
    assert "0123456789abcdef" not in shown + stdout + stderr


def test_the_folder_above_a_repository_is_told_from_it(repository: Path) -> None:
    process = start(repository.parent, *FREE_PORTS)
    stdout, stderr = process.communicate(timeout=120)

    assert process.returncode == 1
    assert f"Do you mean {repository}?" in stderr
    assert stdout == ""


@pytest.mark.triton
def test_opening_more_warns_why(repository: Path) -> None:
    # Its one model does not load, so the command ends by itself.
    (repository / "identity" / "1" / "model.py").write_text("1 / 0")

    process = start(repository, *FREE_PORTS, "--http-port", "0", "--open", "shared-memory")
    _, stderr = process.communicate(timeout=120)

    assert process.returncode == 1
    assert "CVE-2025-23319" in stderr
    assert "CVE-2025-23310" in stderr
    assert "nvcr.io/nvidia/tritonserver:25.07-py3" in stderr
    assert "identity: ZeroDivisionError: division by zero" in stderr
    assert "warning" in stderr


def test_a_taken_port_fails_the_command(repository: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])

        process = start(repository, "--grpc-port", port, "--no-metrics")
        stdout, stderr = process.communicate(timeout=120)

    assert process.returncode == 1
    assert f"gRPC cannot listen on 127.0.0.1:{port}" in stderr
    assert stdout == ""
