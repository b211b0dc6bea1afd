"""Who is measured: Megatick, and the peers, each a process in an environment of its own."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import venv
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from peers.client import KSERVE, PLAIN, Wire

from megatick_server.launcher import ServeOptions, TritonServer

HERE: Final = Path(__file__).parent
_STOP_S: Final = 15.0


@dataclass(frozen=True)
class Running:
    """A server that was started.

    Attributes:
        url: of its HTTP, without a path.
        alive: whether its process is still there.
    """

    url: str
    alive: Callable[[], bool]


class Contender(Protocol):
    """Something that answers texts over HTTP."""

    @property
    def name(self) -> str:
        """What the table calls it."""

    @property
    def wire(self) -> Wire:
        """How it is asked."""

    def running(self) -> contextlib.AbstractContextManager[Running]:
        """Run it inside; it may not be ready at once."""


@dataclass(frozen=True)
class Megatick:
    """Megatick itself, its HTTP opened so that the client is the same for all."""

    repository: Path
    name: str = "megatick"
    wire: Wire = KSERVE

    @contextlib.contextmanager
    def running(self) -> Iterator[Running]:
        """Serve the repository."""
        ports = ServeOptions(grpc_port=0, http_port=0, metrics_port=None)
        with TritonServer(self.repository, ports) as server:
            yield Running(f"http://{server.endpoints.http}", lambda: server.running)


@dataclass(frozen=True)
class Peer:
    """A folder beside this file: ``requirements.txt`` and ``server.py``.

    Attributes:
        name: of the folder.
        wire: how it is asked.
        model: folder that ``prepare`` wrote.
        builds: where environments are made and logs written.
    """

    name: str
    wire: Wire
    model: Path
    builds: Path

    @property
    def python(self) -> Path:
        """Its own interpreter."""
        return self.builds / "env" / self.name / "bin" / "python"

    @property
    def requirements(self) -> Path:
        """What its environment holds."""
        return HERE / self.name / "requirements.txt"

    def install(self) -> None:
        """Make its environment from its requirements, unless they are there already.

        Raises:
            subprocess.CalledProcessError: pip cannot install them.
        """
        environment = self.python.parents[1]
        wanted = self.requirements
        installed = environment / wanted.name
        if installed.is_file() and installed.read_bytes() == wanted.read_bytes():
            return
        venv.create(environment, with_pip=True, clear=True, symlinks=True)
        command = [
            str(self.python),
            *("-m", "pip", "install", "--quiet", "-r"),
            str(wanted),
        ]
        subprocess.run(command, check=True)
        shutil.copy(wanted, installed)

    @contextlib.contextmanager
    def running(self) -> Iterator[Running]:
        """Start its server; whatever it started is gone at the end."""
        port = free_port()
        log = self.builds / f"{self.name}.log"
        with log.open("ab") as output:
            server = subprocess.Popen(
                [self.python, HERE / self.name / "server.py", self.model, str(port)],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=os.environ
                | {
                    "PYTHONPATH": str(HERE.parent),
                    "HF_HUB_OFFLINE": "1",
                    "RAY_AUTH_MODE": "disabled",  # it would leave a token at home
                    "RAY_USAGE_STATS_ENABLED": "0",
                    "TOKENIZERS_PARALLELISM": "false",
                },
                start_new_session=True,
            )
        try:
            yield Running(f"http://127.0.0.1:{port}", lambda: server.poll() is None)
        finally:
            _stop(server)


def peers(model: Path, builds: Path) -> list[Peer]:
    """Everyone but Megatick."""
    wires = {
        "openvino_async": PLAIN,
        "triton_onnxruntime": KSERVE,
        "fastapi_torch": PLAIN,
        "litserve_torch": PLAIN,
        "mlserver_torch": KSERVE,
        "ray_serve_torch": PLAIN,
    }
    return [Peer(name, wire, model, builds) for name, wire in wires.items()]


def free_port() -> int:
    """Ask the system for a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def _stop(server: subprocess.Popen[bytes]) -> None:
    """End a server gently, then its whole session by force."""
    server.send_signal(signal.SIGINT)  # Ray Serve stops cleanly on Ctrl+C alone
    with contextlib.suppress(subprocess.TimeoutExpired):
        server.wait(_STOP_S)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(server.pid, signal.SIGKILL)
    server.wait()
