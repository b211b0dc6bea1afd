"""``TritonServer`` in a process of another Python, whose environment has a server.

The SDK runs where the server in the wheel does not: ``make test-sdk`` runs its tests there.
"""

from __future__ import annotations

import copyreg
import os
import pickle
import subprocess
import sys
from pathlib import Path, PosixPath
from typing import Any, Self

from megatick_server.launcher import ServeOptions, TritonServer


class OtherServer:
    """Looks like a ``TritonServer``, and hands everything on to one.

    ``MEGATICK_SERVER_PYTHON`` in the environment names the other Python.
    """

    def __init__(self, repository: Path, options: ServeOptions | None = None) -> None:
        _pickle_paths_for_every_python()
        self._process = subprocess.Popen(
            [os.environ["MEGATICK_SERVER_PYTHON"], __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._ask(repository, options or ServeOptions())

    def __getattr__(self, name: str) -> Any:
        if callable(getattr(TritonServer, name)):
            return lambda *args: self._ask(name, *args)
        return self._ask(name)

    def __enter__(self) -> Self:
        self._ask("__enter__")
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop it and end its process; harmless if that is done."""
        if self._process.poll() is None:
            self._ask("stop")
            self._process.communicate()

    def _ask(self, *said: object) -> Any:
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        pickle.dump(said, process.stdin)
        process.stdin.flush()
        error, found = pickle.load(process.stdout)
        if error is not None:
            raise error
        return found


def _pickle_paths_for_every_python() -> None:
    """By a name that each of them knows: their class is named otherwise in 3.13."""
    copyreg.pickle(PosixPath, lambda path: (_path_of, (str(path),)))


def _path_of(path: str) -> PosixPath:
    return PosixPath(path)


def _obey() -> None:
    _pickle_paths_for_every_python()
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what else is printed is no answer
    server: Any = None
    while True:
        try:
            said = pickle.load(sys.stdin.buffer)
        except EOFError:  # whoever asked is gone
            break
        error = found = None
        try:
            if server is None:
                server = TritonServer(*said)
            else:
                name, *args = said
                found = getattr(server, name)
                found = found(*args) if callable(found) else found
        except Exception as raised:  # noqa: BLE001
            error = raised
        pickle.dump((error, None if found is server else found), answers)
        answers.flush()
    if server is not None:
        server.stop()


if __name__ == "__main__":
    from other_python import _obey as obey  # by the name under which both pickle

    obey()
