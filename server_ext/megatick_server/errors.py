"""Errors of the server's own code.

ServerError
├── ArtefactError    a file that a step loads is absent, corrupt or not for this machine
├── RequestRefused   a request's values are not fit to compute; it fails alone
├── RequestDropped   a request waited too long, would have to, or found no room
├── AuditError       the audit log, its key or its folder cannot be used
├── OutputUnavailable  a request asks for an output that it, or this repository, rules out
└── LaunchError      ``tritonserver`` cannot be started, or ended on its own
    ├── OptionsError          an option has a value that the server cannot take
    ├── InstallationError     this machine or environment cannot run the server
    ├── RepositoryError       the path is not a whole model repository
    ├── EngineMissingError    it is for TensorRT, whose plan or backend is not there
    ├── AddressError          an address or port cannot be listened on
    ├── ModelLoadError        a model did not load, and why
    ├── ServerDiedError       the process ended, and nothing above explains it
    ├── StepDiedError         a step's process ended, and was not replaced
    └── ReadyTimeoutError     it was not ready in time
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from megatick_contract import MegatickError, Rejection
from megatick_contract.admission import QUEUE_FULL, TIMEOUT_EXPIRED
from megatick_contract.rejections import describe

DropCause = Literal["queue_full", "too_late", "expired", "cancelled"]
"""Why a request was not computed: too many wait; those ahead of it would take longer than
its timeout; its timeout passed while it waited; its caller has given up."""

_TRITONS_WORDS: Final[dict[DropCause, str]] = {
    "queue_full": QUEUE_FULL,
    "too_late": QUEUE_FULL,
    "expired": TIMEOUT_EXPIRED,
    "cancelled": TIMEOUT_EXPIRED,
}


class ServerError(MegatickError):
    """Base of what the server's code raises on purpose."""


class ArtefactError(ServerError):
    """A file that a step loads cannot be used."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class AuditError(ServerError):
    """The audit log cannot be written or read, or its key cannot be used.

    Attributes:
        path: which file or folder; None where it is no file's fault.
    """

    def __init__(self, path: Path | None, problem: str) -> None:
        super().__init__(problem if path is None else f"{path}: {problem}")
        self.path = path


class OutputUnavailable(ServerError):
    """A request asks for an output that its inputs, or this repository, do not allow."""

    def __init__(self, outputs: Sequence[str], *, absent_inputs: Sequence[str]) -> None:
        cause = (
            f"cannot be computed without the optional input {', '.join(absent_inputs)}: "
            "send it, or"
            if absent_inputs
            else "is not given by the model as it was exported:"
        )
        super().__init__(
            f"output {', '.join(outputs)} {cause} name only the outputs that you want"
        )
        self.outputs = tuple(outputs)


class RequestRefused(ServerError):
    """A request's values are not fit to compute: the client's fault, told row by row."""

    def __init__(self, rejections: Sequence[Rejection], *, rows: int) -> None:
        super().__init__(describe(rejections, rows=rows))
        self.rejections = tuple(rejections)


class RequestDropped(ServerError):
    """A request was turned away before it was computed: it may be sent again.

    Attributes:
        cause: why; the message begins with Triton's words for it.
    """

    def __init__(self, cause: DropCause, problem: str) -> None:
        super().__init__(f"{_TRITONS_WORDS[cause]}: {problem}")
        self.cause = cause


class LaunchError(ServerError):
    """``tritonserver`` cannot be started, or ended on its own."""


class OptionsError(LaunchError, ValueError):
    """An option has a value that the server cannot take."""

    def __init__(self, option: str, *, expected: str, found: object) -> None:
        super().__init__(f"{option}: expected {expected}, found {found!r}")
        self.option = option
        self.expected = expected
        self.found = found


class InstallationError(LaunchError):
    """This machine or environment cannot run the server."""

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"{problem}.  {remedy}")
        self.problem = problem
        self.remedy = remedy


class RepositoryError(LaunchError):
    """The path is not a whole model repository."""

    def __init__(self, path: Path, problem: str, *, remedy: str) -> None:
        super().__init__(f"{path}: {problem}.  {remedy}")
        self.path = path
        self.problem = problem


class EngineMissingError(LaunchError):
    """A repository is for TensorRT, and its plan, or what runs a plan, is not there.

    Attributes:
        missing: each file that was looked for in vain.
    """

    def __init__(
        self, repository: Path, missing: Sequence[Path], *, remedies: Sequence[str]
    ) -> None:
        lacks = ", ".join(map(str, missing))
        super().__init__(
            f"{repository}: is for TensorRT, and lacks {lacks}.  {'  '.join(remedies)}"
        )
        self.repository = repository
        self.missing = tuple(missing)


class AddressError(LaunchError):
    """An address or port cannot be listened on."""

    def __init__(self, service: str, endpoint: str, problem: str, remedy: str) -> None:
        super().__init__(f"{service} cannot listen on {endpoint}: {problem}.  {remedy}")
        self.service = service
        self.endpoint = endpoint
        self.problem = problem
        self.remedy = remedy


@dataclass(frozen=True)
class ModelFailure:
    """One model that did not load.

    Attributes:
        model: its name, which is its folder's.
        reason: what Triton said; for a Python step, the exception and where it rose.
    """

    model: str
    reason: str


class ModelLoadError(LaunchError):
    """At least one model did not load: a server does not start, or serves what it had."""

    def __init__(self, repository: Path, failures: Sequence[ModelFailure]) -> None:
        listed = "\n".join(f"  {each.model}: {each.reason}" for each in failures)
        count = "a model" if len(failures) == 1 else f"{len(failures)} models"
        super().__init__(f"{repository}: {count} did not load.\n{listed}")
        self.repository = repository
        self.failures = tuple(failures)


class ServerDiedError(LaunchError):
    """``tritonserver`` ended on its own, and its log names no model and no port."""

    def __init__(self, *, when: str, status: int, log: Sequence[str]) -> None:
        tail = "\n".join(f"  {line}" for line in log) or "  (nothing)"
        super().__init__(
            f"tritonserver ended {when} with exit status {status}.  "
            f"The end of its log:\n{tail}"
        )
        self.status = status
        self.log = tuple(log)


class StepDiedError(LaunchError):
    """A Python step's process ended and cannot be replaced; the server was stopped."""

    def __init__(self, model: str, problem: str) -> None:
        super().__init__(
            f"the process of {model} died, {problem}.  The server was stopped: no call of "
            "that model would succeed.  The kernel's log tells whether memory ran out."
        )
        self.model = model


class ReadyTimeoutError(LaunchError):
    """Models did not load in time; a server that was starting has been stopped."""

    def __init__(self, *, timeout_s: float, loading: Sequence[str]) -> None:
        still = f"still loading: {', '.join(loading)}" if loading else "no model loading"
        super().__init__(
            f"tritonserver was not ready within {timeout_s:g} s ({still}).  "
            "Give it longer with --ready-timeout, or see its log with --verbose."
        )
        self.timeout_s = timeout_s
        self.loading = tuple(loading)
