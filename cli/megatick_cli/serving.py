"""A server in a terminal: started, shown, signalled and stopped."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Final, Self

from rich.console import Console
from rich.markup import escape

from megatick_cli.calling import curl_command, digest, panel
from megatick_cli.service_manager import tell, tell_reloading

if TYPE_CHECKING:
    from megatick_server.launcher import TritonServer

_SIGNALS: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run_until_signalled(
    server: TritonServer, console: Console, log: LogLines | None = None
) -> None:
    """Run a server, print how to call it, and stop it on SIGINT, SIGTERM or SIGHUP.

    A second signal while it stops ends the requests in flight, too.  On SIGUSR1 it loads
    its repository again.  A service manager is told of all this.

    Args:
        server: started here, unless it was already.
        console: where to print.
        log: what shows the server's log lines.

    Raises:
        LaunchError: it could not start, or ended on its own; nothing of it is left.
    """
    with _signals_interrupt(server), _Reloads() as reloads:
        try:
            models = len(server.repository.models)
            with console.status(f"Loading {models} models…"):
                if not server.started:
                    server.start()
                server.wait_ready()
            if log is not None:
                log.ready = True
            console.print(panel(server))
            if (curl := curl_command(server)) is not None:
                # Below the panel, on one line: a frame would break what is copied.
                console.print(curl, markup=False, highlight=False, soft_wrap=True)
            while True:
                tell("READY=1", f"STATUS=Serving model {digest(server.repository)}")
                reloads.wait(server)
                tell_reloading()
                _reload(server, console, log)
        except KeyboardInterrupt:
            tell("STOPPING=1")
            with console.status("Stopping…"):
                server.stop()
            console.print("Stopped.")
        finally:
            server.stop()


def _reload(server: TritonServer, console: Console, log: LogLines | None) -> None:
    """Load the repository again, and say what became of it."""
    from megatick_server.errors import LaunchError

    before = server.repository
    if log is not None:
        log.ready = False
    try:
        with console.status(f"Loading {before.path} as it is now…"):
            server.reload()
    except LaunchError as error:
        if not server.running:
            raise
        problem = f"{error}\nWhat was served before is served on."
        Console(stderr=True).print(f"[bold red]error:[/] {escape(problem)}", soft_wrap=True)
    else:
        after = server.repository
        was = "as" if after.model_digest == before.model_digest else digest(before)
        console.print(
            f"Serving {after.path} as it is now: model {digest(after)}, {was} before.",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    finally:
        if log is not None:
            log.ready = True


class _Reloads:
    """SIGUSR1: ends the wait for a server, or is kept until that is waited for again."""

    class _Asked(Exception):
        pass

    def __init__(self) -> None:
        self._asked = self._asleep = False
        self._before: Any = signal.SIG_DFL

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGUSR1, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        signal.signal(signal.SIGUSR1, self._before)

    def wait(self, server: TritonServer) -> None:
        """Wait until the signal comes, or has come; see ``TritonServer.wait``.

        It ends a sleep alone: what a look at the server has begun, such as to load a step
        again that died, is finished first.
        """
        while not self._asked:
            server.check()
            self._sleep()
        self._asked = False

    def _sleep(self) -> None:
        from megatick_server.launcher.server import LOOK_S

        with contextlib.suppress(self._Asked):
            try:
                self._asleep = True
                if not self._asked:
                    time.sleep(LOOK_S)
            finally:
                self._asleep = False

    def _handle(self, *_: object) -> None:
        self._asked = True
        if self._asleep:
            self._asleep = False
            raise self._Asked


class LogLines:
    """Shows Triton's log: all of it, or what it complains of once it is ready.

    While it loads, its complaints are either harmless (a CPU has no CUDA driver) or
    come back as the error that ends this command.
    """

    def __init__(self, *, everything: bool) -> None:
        self.everything = everything
        self.ready = False

    def __call__(self, line: str) -> None:
        """Show a line, or not."""
        from megatick_server.launcher.diagnosis import worth_showing

        if self.everything or (self.ready and worth_showing(line)):
            print(line, file=sys.stderr, flush=True)  # noqa: T201  markup would garble


@contextlib.contextmanager
def _signals_interrupt(server: TritonServer) -> Iterator[None]:
    """Turn the first signal into KeyboardInterrupt, and the next into a kill."""
    signalled = False

    def handle(*_: object) -> None:
        nonlocal signalled
        if signalled:
            server.kill()
            return
        signalled = True
        raise KeyboardInterrupt

    before = {each: signal.signal(each, handle) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
