"""What can keep a batch from being begun, or from being finished now.

MegatickError
├── BatchError
│   ├── SettingError           a setting is out of its range
│   ├── SourceError            an input is absent, damaged, changed, or lacks the column
│   ├── JobError               no such job, one that exists, or one that runs already
│   └── BatchStopped           it stopped before its end, and ``resume`` takes it up again
└── ScoringError               what stopped it, and is the cause of ``BatchStopped``
    ├── ServersSilent          no server gave an answer for as long as it was patient
    ├── AnotherModel           a server has another model than the batch began with
    ├── ScoringCancelled       it was told to stop
    └── ScoringFailed          an actor of Ray could not go on

A bad row is no error here: it is listed in the job's file of errors, and the rest goes on.
"""

from __future__ import annotations

from pathlib import Path

from megatick_contract import MegatickError


class BatchError(MegatickError):
    """Base of every error of a batch."""


class SettingError(BatchError, ValueError):
    """A setting is out of its range."""

    def __init__(self, name: str, *, expected: str, found: object) -> None:
        super().__init__(f"{name}: expected {expected}, found {found!r:.60}")
        self.name = name
        self.expected = expected
        self.found = found


class SourceError(BatchError, ValueError):
    """An input is not what the batch needs."""

    def __init__(self, source: Path | str, problem: str) -> None:
        super().__init__(f"{source}: {problem}")
        self.source = source
        self.problem = problem


class JobError(BatchError):
    """What was asked of a job does not fit the state it is in."""

    def __init__(self, folder: Path, problem: str) -> None:
        super().__init__(f"{folder}: {problem}")
        self.folder = folder
        self.problem = problem


class BatchStopped(BatchError):
    """A batch stopped before its end; what it scored is kept.

    Attributes:
        output: the file that it was to write.
        rows: rows of the input that are done.
        reason: what stopped it.
    """

    def __init__(self, output: Path, *, rows: int, reason: str) -> None:
        super().__init__(
            f"{output}: stopped after {rows:,} rows: {reason}  They are kept: resume the "
            "batch to score the rest."
        )
        self.output = output
        self.rows = rows
        self.reason = reason


class ScoringError(MegatickError):
    """Base of what stops the scoring of a batch, beside the client's own errors."""


class ServersSilent(ScoringError):
    """No server gave an answer for as long as the batch was patient."""


class ScoringCancelled(ScoringError):
    """The scoring was told to stop while it waited."""


class ScoringFailed(ScoringError):
    """An actor of Ray could not go on; the message has its own words."""


class AnotherModel(ScoringError):
    """A server answers with another model than the one that the batch began with."""

    def __init__(self, address: str, *, expected: str, found: str) -> None:
        super().__init__(
            f"{address} answers with the model {found:.12}…, the batch began with "
            f"{expected:.12}….  Serve that one again, or begin another batch."
        )
        self.address = address
        self.expected = expected
        self.found = found
