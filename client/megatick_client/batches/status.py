"""How far a batch has come."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa

from megatick_client.batches.errors import JobError
from megatick_client.batches.job import Job, JobFolder
from megatick_client.batches.output import errors_of
from megatick_client.batches.parts import parts_in

State = Literal["running", "interrupted", "stopped", "cancelled", "finished", "unreadable"]
"""``interrupted``: the process that ran it is gone without a word.

``unreadable``: its folder is damaged, or another release's; only a list says so.
"""


@dataclass(frozen=True)
class BatchStatus:
    """How far a batch has come.

    Attributes:
        id: of the job.
        state: see ``State``; the second to fourth can be resumed.
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
        JobError: there is none, or it is damaged.
    """
    folder = JobFolder.beside(output)
    job = folder.load()
    while True:  # until it stood still while it was looked at
        problem: Exception | None = None
        try:
            rows, scored = _rows_of(folder, job)
        except (JobError, OSError, pa.ArrowException) as error:
            problem = error
        runs = folder.runs()
        before, job = job, folder.load()
        if job == before:
            break
    if problem:
        raise JobError(folder.path, f"its parts cannot be read: {problem}") from problem
    return BatchStatus(
        job.id,
        "running" if runs else job.end or "interrupted",
        job.output,
        errors_of(job.output),
        rows=rows,
        scored=scored,
        model_digest=job.model_digest,
        created_at_utc=job.created_at_utc,
        reason=job.reason,
    )


def _rows_of(folder: JobFolder, job: Job) -> tuple[int, int]:
    """Count the rows that are done, and those of them that were scored."""
    if job.end == "finished":  # then there are no parts any more
        return job.rows, job.scored
    parts = parts_in(folder.parts)
    return parts[-1].stop if parts else 0, sum(part.scored for part in parts)


def statuses_in(folder: str | Path) -> tuple[BatchStatus, ...]:
    """Look at every batch whose output is, or will be, in this folder; by their names."""
    return tuple(_statuses(Path(folder)))


def _statuses(folder: Path) -> Iterator[BatchStatus]:
    for path in sorted(folder.glob("*.job")):
        if JobFolder(path).exists():
            try:
                yield status_of(path)
            except JobError as error:  # it must not hide the others
                yield _unreadable(path.with_suffix(""), error)


def _unreadable(output: Path, error: JobError) -> BatchStatus:
    return BatchStatus(
        id="",
        state="unreadable",
        output=output,
        errors=errors_of(output),
        rows=0,
        scored=0,
        model_digest="",
        created_at_utc="",
        reason=error.problem,
    )
