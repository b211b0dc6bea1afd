"""The process between the launcher and ``tritonserver``: nothing outlives it.

The server lives exactly as long as this process's standard input is open.  The launcher
holds the other end, so closing it stops the server, and a launcher that is killed has
closed it.  Whichever way the server ends, this process waits for the last of its
children and removes what they left in ``/dev/shm``: Triton leaves its segments behind
when it is killed, and also when a model fails to load.

It runs as a script, on the standard library alone:
``python -I -S keeper.py SHM_PREFIX PRIVATE_DIRECTORY STOP_TIMEOUT_S CPUS COMMAND…``,
where CPUS are the numbers of those that the server may use, joined by commas.
Its first line of a number alone is the server's process id; the rest is the server's log,
which may begin before it.  Its exit status is the server's, or 128 + the signal that ended
it.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NoReturn

SHARED_MEMORY: Final = Path("/dev/shm")  # noqa: S108  the one that Triton uses

# Source: linux/prctl.h.
_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36

_POLL_S: Final = 0.2


def segments(shm_prefix: str) -> Iterator[Path]:
    """List a server's segments of shared memory."""
    return SHARED_MEMORY.glob(f"{shm_prefix}*")


def hide(shm_prefix: str) -> None:
    """Keep others from reading them: texts pass through, and Triton lets everybody."""
    for segment in segments(shm_prefix):
        with contextlib.suppress(FileNotFoundError):
            segment.chmod(0o600)


def sweep(shm_prefix: str, directory: Path) -> None:
    """Remove a server's shared memory and its private directory, if any is left."""
    for segment in segments(shm_prefix):
        segment.unlink(missing_ok=True)
    shutil.rmtree(directory, ignore_errors=True)


def main() -> int:
    """Start the command, wait for its end or for ours, and leave nothing behind."""
    shm_prefix, directory, stop_timeout_s, cpus, *command = sys.argv[1:]
    # What clears old files away (systemd-tmpfiles) leaves a locked folder alone, and the
    # server looks into this one for as long as it runs.
    with contextlib.suppress(OSError):  # some network file systems have no locks
        fcntl.flock(os.open(directory, os.O_RDONLY), fcntl.LOCK_SH)
    launcher = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    # Orphans of the server become our children, so that we can end and reap them.
    libc.prctl(_PR_SET_CHILD_SUBREAPER, 1)
    signal.signal(signal.SIGTERM, _leave)
    # The server and its steps inherit it, and make as many threads.
    os.sched_setaffinity(0, map(int, cpus.split(",")))
    try:
        server = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            # Should this process be killed, no one is left to end the server.
            preexec_fn=lambda: libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL),
            # A log that nobody reads any more must not end the server half-way
            # through its stop: it inherits our ignored SIGPIPE.
            restore_signals=False,
        )
        print(server.pid, flush=True)  # noqa: T201  the launcher reads it
        try:
            while server.poll() is None and os.getppid() == launcher:
                readable, _, _ = select.select([sys.stdin], [], [], _POLL_S)
                if readable:
                    break
        finally:
            _stop(server, float(stop_timeout_s))
    finally:
        _end_children()
        sweep(shm_prefix, Path(directory))
    return server.returncode if server.returncode >= 0 else 128 - server.returncode


def _leave(*_: object) -> NoReturn:
    sys.exit(128 + signal.SIGTERM)


def _stop(server: subprocess.Popen[bytes], timeout_s: float) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # it is being done
    server.terminate()
    try:
        server.wait(timeout_s)
    except subprocess.TimeoutExpired:
        server.kill()
        server.wait()


def _end_children() -> None:
    """Kill and reap until none is left; a killed child hands us its own children."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    while pids := children.read_text().split():
        for pid in map(int, pids):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, 0)
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(main())
