"""The processes in which a server's Python steps run, and which of them have died.

Triton 2.51 notices only as a call fails, every call then fails, and health says ready all
the while (triton-inference-server/server issue 8604; tried).
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from megatick_server.launcher.private import MODELS

_MODEL: Final = re.compile(rb"/%s/(?P<model>[^/\0]+)/\d+/[^/\0]+\0" % MODELS.encode())
"""In a step's arguments: the file that it runs."""


class Steps:
    """The steps of one server, as long as somebody looks."""

    def __init__(self, pid: int) -> None:
        """Begin with none.

        Args:
            pid: of ``tritonserver``, whose children the steps are.
        """
        self._pid = pid
        self._models: dict[int, str] = {}
        self._suspected: set[int] = set()
        self._told: set[int] = set()
        self._replaced: set[int] = set()

    def meet(self) -> None:
        """Learn which process is whose, while they are alive: a dead one tells no more."""
        self._look()

    def met(self, model: str = "") -> frozenset[int]:
        """The processes that were met, of every model or of one."""
        return frozenset(
            pid for pid, of in self._models.items() if not model or of == model
        )

    def replaced(self, former: Collection[int]) -> None:
        """Hear that others do their work: that these die is no matter any more.

        Triton keeps one that was killed for some seconds after another was loaded.
        """
        self._replaced.update(former)

    def died(self) -> set[str]:
        """Name the models whose step ended, and was still not seen to at the last look.

        A step that Triton ends itself is gone at once, since Triton waits for it.  Each is
        named once, and only if it was met alive and was not replaced.
        """
        ended = self._look() - self._replaced
        sure = (ended & self._suspected) - self._told
        self._suspected = ended
        self._told = (self._told | sure) & ended  # the kernel gives numbers again
        return {self._models[child] for child in sure if child in self._models}

    def _look(self) -> set[int]:
        ended = set()
        children = set(_children(self._pid))
        self._replaced &= children  # the kernel gives numbers again
        for child in children:
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                if _ended(child):
                    ended.add(child)
                elif found := _MODEL.search(Path(f"/proc/{child}/cmdline").read_bytes()):
                    self._models[child] = found["model"].decode()
        return ended


def _children(pid: int) -> Iterator[int]:
    """Of all its threads."""
    tasks = Path(f"/proc/{pid}/task")
    with contextlib.suppress(FileNotFoundError, ProcessLookupError):
        for task in os.listdir(tasks):
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                yield from map(int, (tasks / task / "children").read_text().split())


def _ended(pid: int) -> bool:
    # The state follows the name, which stands in brackets and may hold some itself.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
