"""How replies are recorded: what the launcher is told, and tells the steps."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Literal, get_args

from megatick_server.audit.record import AuditKey
from megatick_server.errors import AuditError

AUDIT_VARIABLE: Final = "MEGATICK_AUDIT"

OnFailure = Literal["refuse", "reply"]
"""Of a reply that cannot be recorded: it is not given (fail closed), or it is given all the
same, and the chain says later how many it lacks (fail open)."""


@dataclass(frozen=True)
class AuditSettings:
    """Where, and how safely.

    Attributes:
        folder: where the chains are; an absolute path once it is told to a step.
        key_file: holds the key; its path is told to the steps, never the key.
        on_failure: of a reply that cannot be recorded.
        sync_s: seconds, >= 0, after which what was written is forced to the disk; 0 does so
            before each reply.  What a process wrote outlives it either way; this is about
            the machine losing its power.
    """

    folder: Path
    key_file: Path
    on_failure: OnFailure = "refuse"
    sync_s: float = 1.0

    def check(self) -> None:
        """Find out now what a step would find out later.

        Raises:
            AuditError: no such key, or a folder that cannot be written to.
        """
        AuditKey.read(self.key_file)
        if self.on_failure not in get_args(OnFailure) or not self.sync_s >= 0:
            raise AuditError(self.folder, f"no such settings of an audit log: {self}")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise AuditError(
                self.folder, f"the audit log's folder cannot be made: {error.strerror}"
            ) from error
        if not os.access(self.folder, os.W_OK | os.X_OK):
            raise AuditError(self.folder, "the audit log's folder cannot be written to")

    @property
    def variable(self) -> str:
        """Of the environment, for the steps: Triton runs in a directory of its own."""
        return json.dumps(
            {
                **asdict(self),
                "folder": str(self.folder.absolute()),
                "key_file": str(self.key_file.absolute()),
            }
        )

    @classmethod
    def of_environment(cls) -> AuditSettings | None:
        """What the launcher told; None if nothing is to be recorded."""
        if not (told := os.environ.get(AUDIT_VARIABLE)):
            return None
        given = json.loads(told)
        paths = {name: Path(given[name]) for name in ("folder", "key_file")}
        return cls(**{**given, **paths})
