"""One running ``tritonserver``, from its start to its last shared-memory segment."""

from __future__ import annotations

import contextlib
import logging
import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from math import inf
from pathlib import Path
from types import TracebackType
from typing import IO, Final, Self

from megatick_server.errors import (
    AddressError,
    InstallationError,
    LaunchError,
    ModelLoadError,
    ReadyTimeoutError,
    ServerDiedError,
    StepDiedError,
)
from megatick_server.launcher import diagnosis, keeper
from megatick_server.launcher.command import triton_command
from megatick_server.launcher.endpoints import Endpoints, choose_endpoints
from megatick_server.launcher.engines import check_engines
from megatick_server.launcher.installation import (
    check_shared_memory,
    find_installation,
    prepare,
)
from megatick_server.launcher.options import ServeOptions
from megatick_server.launcher.private import MODELS, make_private
from megatick_server.launcher.probe import is_ready
from megatick_server.launcher.repository import Repository, check_repository
from megatick_server.launcher.shown import Shown
from megatick_server.launcher.steps import Steps

_LOG = logging.getLogger(__name__)

_LOG_LINES: Final = 2000
LOOK_S: Final = 1.0
"""Between two looks at a server that runs: what died is told by the second."""
_SAME_AGAIN_S: Final = 60.0
"""A step that dies again within so long has a reason that loading does not mend."""
_POLL_S: Final = 0.05
_KILLED_S: Final = 5.0
"""What a keeper may take beyond the server's own stop timeout."""


class TritonServer:
    """The wheel's ``tritonserver`` on one model repository.

    As a context manager it is started and ready inside, and gone outside.  It also goes
    when this process ends, however that happens.

    >>> with TritonServer(Path("build/repository")) as server:  # doctest: +SKIP
    ...     print(server.endpoints.grpc)
    127.0.0.1:8001
    """

    def __init__(
        self,
        repository: Path,
        options: ServeOptions | None = None,
        *,
        on_log: Callable[[str], None] | None = None,
    ) -> None:
        """Check the repository; nothing is started yet.

        Args:
            repository: folder of models, written by ``megatick export``.
            options: where to listen and what to open; the defaults are closed.
            on_log: called with each line of ``log``, on a thread of its own, until it
                raises anything but an ``OSError``, which is logged.

        Raises:
            RepositoryError: the repository is absent or not whole.
        """
        self._repository = check_repository(repository)
        self.options = options or ServeOptions()
        self._on_log = on_log
        self._log: deque[str] = deque(maxlen=_LOG_LINES)
        self._keeper: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._listens = threading.Event()
        self._endpoints: Endpoints | None = None
        self._pid: int | None = None
        self._shm_prefix = ""
        self._directory = Path()
        self._shown: Shown | None = None
        self._steps = Steps(0)
        self._loading = threading.RLock()  # models, and no step is missed meanwhile
        self._replaced_s: dict[str, float] = {}
        self._stopped = False

    @property
    def repository(self) -> Repository:
        """What is served."""
        return self._repository if self._shown is None else self._shown.repository

    @property
    def pid(self) -> int:
        """Process id of ``tritonserver`` itself."""
        if self._pid is None:
            raise LaunchError("the server was not started: call start() first")
        return self._pid

    @property
    def endpoints(self) -> Endpoints:
        """Where it listens, with the ports that were picked."""
        if self._endpoints is None:
            raise LaunchError("the server was not started: call start() first")
        return self._endpoints

    @property
    def log(self) -> tuple[str, ...]:
        """The last 2,000 lines of Triton's log."""
        return tuple(map(self._as_named, tuple(self._log)))

    @property
    def shm_prefix(self) -> str:
        """How this server's segments in ``/dev/shm`` are named."""
        return self._shm_prefix

    @property
    def started(self) -> bool:
        """Whether ``start`` was called, whatever became of it."""
        return self._keeper is not None

    def start(self) -> None:
        """Start the process; models load in the background, see ``wait_ready``.

        Raises:
            InstallationError: this machine or environment cannot run the server.
            EngineMissingError: the repository is for TensorRT, and something is absent.
            AddressError: a port is taken, or the address is not this machine's.
        """
        if self.started:
            raise LaunchError("the server was started already")
        installation = find_installation()
        check_engines(self.repository, installation)
        check_shared_memory()
        self._endpoints = choose_endpoints(self.options)
        self._shm_prefix = f"megatick-{secrets.token_hex(6)}-"
        self._directory = make_private()
        try:
            self._shown = Shown(
                self.repository, self._directory, held=not self.options.callers_load
            )
            prepared = prepare(installation, self._directory)
            command = triton_command(
                installation,
                repository=self._directory / MODELS,
                backends=prepared.backends,
                endpoints=self._endpoints,
                options=self.options,
                shm_prefix=self._shm_prefix,
            )
            self._keeper = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", keeper.__file__),
                    *(self._shm_prefix, str(self._directory)),
                    *(str(self.options.stop_timeout_s), self._cpus(), *command),
                ],
                stdin=subprocess.PIPE,  # its end is ours: closed, the server stops
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=prepared.environment | self.options.variables,
                cwd=self._directory,
                start_new_session=True,  # the terminal's Ctrl+C is for us alone
            )
        except BaseException:
            self._sweep()
            raise
        output = self._keeper.stdout
        assert output is not None  # noqa: S101  a pipe was asked for
        said: list[str] = []  # the server may say something before the keeper tells its id
        for raw in output:
            line = raw.decode(errors="replace")
            if line.strip().isdecimal():
                self._pid = int(line)
                break
            said.append(line)
        if self._pid is None:
            output.close()
            self._end()
            raise InstallationError(
                f"{installation.binary} cannot be executed: {''.join(said).strip()}",
                remedy="Reinstall nvidia-pytriton 0.7.0.",
            )
        for line in said:
            self._hear(line)
        self._steps = Steps(self._pid)
        self._reader = threading.Thread(
            target=self._read_log, args=(output,), name="triton-log", daemon=True
        )
        self._reader.start()

    def wait_ready(self) -> None:
        """Wait until every model is loaded and the server says so.

        If that fails, the server is stopped first, then the reason is raised.

        Raises:
            ModelLoadError: a model did not load.
            AddressError: a port was taken since ``start`` looked.
            ServerDiedError: the process ended for another reason.
            ReadyTimeoutError: ``options.ready_timeout_s`` passed.
        """
        deadline = time.monotonic() + self.options.ready_timeout_s
        # Only once our own log says so: another server may have taken the port.
        tls = self.options.tls is not None
        while not (self._listens.is_set() and is_ready(self.endpoints, tls=tls)):
            if not self.running or diagnosis.hangs(self.log):
                self._end()
                raise self._why_not_ready()
            if time.monotonic() > deadline:
                loading = diagnosis.still_loading(self.log)
                self._end()
                raise ReadyTimeoutError(
                    timeout_s=self.options.ready_timeout_s, loading=loading
                )
            time.sleep(_POLL_S)
        self._look()

    def reload(self, repository: Path | None = None) -> None:
        """Serve a repository as it is now, without a pause.

        Each model is loaded beside the one that answers, which answers until then and
        finishes what it has; for so long both are in memory.  Another thread may be in
        ``wait`` meanwhile.

        Args:
            repository: another one; None reads again the one that is served.

        Raises:
            RepositoryError: it is absent or not whole; nothing was tried.
            EngineMissingError: it is for TensorRT, and something is absent.
            LaunchError: the server does not run, or its callers load its models.
            ModelLoadError: a model did not load; what was served before is served on.
            ReadyTimeoutError: ``options.ready_timeout_s`` passed; the same.
        """
        if self._shown is None or not self.running:
            raise LaunchError("the server does not run: call start() first")
        if self.options.callers_load:
            raise LaunchError(
                "nothing was loaded: with --open model-repository or an admin key, callers "
                "load models, and the server follows them alone"
            )
        found = check_repository(repository or self.repository.path)
        check_engines(found, find_installation())
        with self._loading:
            former = self._steps.met()
            self._shown.change(found, self._look, timeout_s=self.options.ready_timeout_s)
            self._steps.replaced(former)

    def _look(self) -> None:
        """While models are loaded."""
        keeper.hide(self._shm_prefix)
        self._steps.meet()
        if not self.running:
            raise self._why_it_ended("as it loaded models")

    @property
    def running(self) -> bool:
        """Whether the server's process is alive, ready or not."""
        return self._keeper is not None and self._keeper.poll() is None

    def wait(self) -> None:
        """Block until ``stop``; a step whose process dies is loaded again.

        Raises:
            ServerDiedError: it ended without ``stop``; nothing of it is left.
            StepDiedError: a step died and cannot be replaced; the server was stopped.
        """
        while not self._stopped:
            try:
                self.check()
            except LaunchError:
                if not self._stopped:  # by another thread, meanwhile
                    raise
            time.sleep(LOOK_S)

    def check(self) -> None:
        """Look at the server once, as ``wait`` does every second.

        Raises:
            ServerDiedError: it ended without ``stop``; nothing of it is left.
            StepDiedError: a step died and cannot be replaced; the server was stopped.
        """
        if self._keeper is None:
            raise LaunchError("the server was not started: call start() first")
        if not self.running:
            self._end()
            raise self._why_it_ended("on its own")
        with self._loading:
            for model in sorted(self._steps.died()):
                self._replace(model)

    def _replace(self, model: str) -> None:
        now_s = time.monotonic()
        last_s, self._replaced_s[model] = self._replaced_s.get(model, -inf), now_s
        try:
            if self._shown is None or self.options.callers_load:
                raise StepDiedError(model, "and its callers alone load models")
            if now_s - last_s < _SAME_AGAIN_S:
                raise StepDiedError(model, f"{now_s - last_s:.0f} s after it was replaced")
            _LOG.error("the process of %s died; it is loaded again", model)
            former = self._steps.met(model)
            self._shown.again(model, self._look, timeout_s=self.options.ready_timeout_s)
            self._steps.replaced(former)
        except LaunchError as error:
            self._end()
            if isinstance(error, ModelLoadError | ReadyTimeoutError):
                raise StepDiedError(model, f"and was not replaced: {error}") from error
            raise

    def stop(self) -> None:
        """Stop the server and remove all it left; harmless if it does not run.

        Requests in flight have ``options.stop_timeout_s`` to finish.
        """
        self._stopped = self.started
        self._end()

    def _end(self) -> None:
        process = self._keeper
        if process is None:
            return
        if process.stdin is not None:
            process.stdin.close()
        try:
            process.wait(self.options.stop_timeout_s + _KILLED_S)
        except subprocess.TimeoutExpired:
            self.kill()
            process.kill()
            process.wait()
        if self._reader is not None:
            self._reader.join(_KILLED_S)  # it ends with the last writer of the log
        self._sweep()  # the keeper has done this, unless it was killed itself

    def kill(self) -> None:
        """End the server at once; ``stop`` is still what cleans up."""
        if self.running and self._pid is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(self._pid, signal.SIGKILL)

    def __enter__(self) -> Self:
        """Start, and wait until ready."""
        try:
            self.start()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    def _sweep(self) -> None:
        if self._shown is not None:
            self._shown.close()
        keeper.sweep(self._shm_prefix, self._directory)

    def _cpus(self) -> str:
        allowed = sorted(os.sched_getaffinity(0))
        return ",".join(map(str, allowed[: self.options.cpus]))

    def _read_log(self, output: IO[bytes]) -> None:
        with output:
            for raw in output:
                self._hear(raw.decode(errors="replace"))

    def _hear(self, line: str) -> None:
        line = line.rstrip("\n")
        self._log.append(line)
        if self._shown is not None:
            self._shown.hear(line)
        if diagnosis.listens(line):
            self._listens.set()
        self._show_line(line)

    def _show_line(self, line: str) -> None:
        """Whatever becomes of it, the log is read on: what loads is known from it alone."""
        if self._on_log is None:
            return
        try:
            self._on_log(self._as_named(line))
        except OSError:
            pass  # nobody to show it to
        except Exception:  # noqa: BLE001 whatever it is, the server goes on
            _LOG.exception("a line of the log could not be shown; no other will be")
            self._on_log = None

    def _as_named(self, text: str) -> str:
        return text if self._shown is None else self._shown.as_named(text)

    def _why_not_ready(self) -> LaunchError:
        # Read as Triton wrote it: the repository's path may hold a quote or a backslash.
        if failures := diagnosis.model_failures(tuple(self._log)):
            named = [replace(each, reason=self._as_named(each.reason)) for each in failures]
            return ModelLoadError(self.repository.path, named)
        return self._why_it_ended("before it was ready")

    def _why_it_ended(self, when: str) -> LaunchError:
        if failed := diagnosis.bind_failure(self.log):
            service, reason = failed
            endpoint = getattr(self.endpoints, service.lower(), None) or "its port"
            return AddressError(service, endpoint, reason, "Choose another port.")
        status = self._keeper.returncode if self._keeper is not None else -1
        return ServerDiedError(when=when, status=status, log=diagnosis.tail(self.log))
