"""Errors of the server's own code.

ServerError
├── ArtefactError    a file that a step loads is absent, corrupt or not for this machine
└── RequestRefused   a request's values are not fit to compute; it fails alone
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from megatick_contract import MegatickError, Rejection
from megatick_contract.rejections import describe


class ServerError(MegatickError):
    """Base of what the server's code raises on purpose."""


class ArtefactError(ServerError):
    """A file that a step loads cannot be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class RequestRefused(ServerError):
    """A request's values are not fit to compute: the client's fault, told row by row."""

    def __init__(self, rejections: Sequence[Rejection], *, rows: int) -> None:
        super().__init__(describe(rejections, rows=rows))
        self.rejections = tuple(rejections)
