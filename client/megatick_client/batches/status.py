"""How far a batch has come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from megatick_client.batches.job import JobFolder
from megatick_client.batches.output import errors_of
from megatick_client.batches.parts import parts_in

State = Literal["running", "interrupted", "stopped", "cancelled", "finished"]
"""``interrupted``: the process that ran it is gone without a word."""


@dataclass(frozen=True)
class BatchStatus:
    """How far a batch has come.

    Attributes:
        id: of the job.
        state: see ``State``; all but the first and the last can be resumed.
        output: the file that it writes, or has written.
        errors: the file beside it, of the rows that could not be scored, once finished.
        rows: of the input that are done.
        scored: of them, that are in the output.
        model_digest: SHA-256 of the model that scored them; empty before the first.
        created_at_utc: ISO 8601.
        reason: what stopped it, or empty.
    """

    id: str
    state: State
    output: Path
    errors: Path
    rows: int
    scored: int
    model_digest: str
    created_at_utc: str
    reason: str = ""

    @property
    def refused(self) -> int:
        """Rows that could not be scored."""
        return self.rows - self.scored


def status_of(output: str | Path) -> BatchStatus:
    """Look at the batch that writes this output; its folder ``OUTPUT.job`` will do, too.

    Raises:
        JobError: there is none.
    """
    folder = JobFolder.beside(output)
    job = folder.load()
    parts = parts_in(folder.parts)
    rows, scored = job.rows, job.scored
    if job.end != "finished":  # then there are no parts any more
        rows = parts[-1].stop if parts else 0
        scored = sum(part.scored for part in parts)
    state: State = "running" if folder.runs() else job.end or "interrupted"
    return BatchStatus(
        job.id,
        state,
        job.output,
        errors_of(job.output),
        rows=rows,
        scored=scored,
        model_digest=job.model_digest,
        created_at_utc=job.created_at_utc,
        reason=job.reason,
    )


def statuses_in(folder: str | Path) -> tuple[BatchStatus, ...]:
    """Look at every batch whose output is, or will be, in this folder; by their names."""
    return tuple(_statuses(Path(folder)))


def _statuses(folder: Path) -> Iterator[BatchStatus]:
    for path in sorted(folder.glob("*.job")):
        if JobFolder(path).exists():
            yield status_of(path)
