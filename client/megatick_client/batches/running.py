"""Running a job to its end, from wherever it was left."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TypeAlias

import pyarrow as pa

from megatick_client.batches.answers import Answers
from megatick_client.batches.checks import held_to
from megatick_client.batches.errors import BatchError, BatchStopped
from megatick_client.batches.job import Job, JobFolder
from megatick_client.batches.output import write_output
from megatick_client.batches.parts import PartWriter, parts_in
from megatick_client.batches.pipeline import score_in_order
from megatick_client.batches.reading import read_blocks
from megatick_client.batches.scoring import Scorer
from megatick_client.batches.settings import BatchSettings
from megatick_client.batches.status import BatchStatus, status_of
from megatick_client.errors import ClientError
from megatick_client.surface import Blocking


@dataclass(frozen=True)
class BatchProgress:
    """How far a running batch has come.

    Attributes:
        rows: of the input that are done, those of earlier runs included.
        scored: of them, that have an answer.
        read_bytes: of the input files that these rows take.
        size: bytes of the input files.
    """

    rows: int
    scored: int
    read_bytes: int
    size: int


Report: TypeAlias = Callable[[BatchProgress], None]


def run(client: Blocking, folder: JobFolder, report: Report | None = None) -> BatchStatus:
    """Score the rows that are left, and write the output.

    Raises:
        BatchStopped: something stopped it; it can be resumed.
        JobError: another process runs it.
        SourceError: an input has changed since the job began.
    """
    with folder.lock():
        job = folder.load()
        if job.end != "finished":
            for source in job.sources:
                source.check_unchanged()
            folder.cancel.unlink(missing_ok=True)
            job = folder.ended(job, "")
            job = _score(client, folder, job, report or (lambda progress: None))
            job = _finish(folder, job)
        _tidy(folder)
    return status_of(folder.path)


def _score(client: Blocking, folder: JobFolder, job: Job, report: Report) -> Job:
    """Score what is left, part by part; return the job with its model's digest."""
    parts = parts_in(folder.parts)
    rows = parts[-1].stop if parts else 0
    scored_rows = sum(part.scored for part in parts)
    scorer = Scorer(client, job.settings, job.model_digest, folder.cancel.exists)
    writer = PartWriter(folder.parts, job.settings)
    blocks = (
        held_to(block, job.settings) for block in read_blocks(job.sources, after=rows)
    )
    results = score_in_order(
        blocks,
        scorer,
        stop=scorer.stop,
        column=job.settings.column,
        in_flight=job.settings.in_flight,
    )
    try:
        for scored in results:
            if not job.model_digest and scorer.model_digest:
                job = replace(job, model_digest=scorer.model_digest)
                folder.save(job)
            writer.add(scored)
            rows = scored.block.stop
            scored_rows += scored.block.rows - len(scored.answers.problems)
            report(BatchProgress(rows, scored_rows, scored.block.read_bytes, job.size))
            if folder.cancel.exists():
                break
    except (BatchError, ClientError) as error:
        if not folder.cancel.exists():
            writer.flush()
            folder.ended(job, "stopped", str(error))
            raise BatchStopped(job.output, rows=rows, reason=str(error)) from error
    except BaseException:  # the process is told to end: keep what it has
        writer.flush()
        raise
    finally:
        results.close()
    writer.flush()
    if folder.cancel.exists():
        folder.ended(job, "cancelled", "it was cancelled.")
        raise BatchStopped(job.output, rows=rows, reason="it was cancelled.")
    return job


def _finish(folder: JobFolder, job: Job) -> Job:
    """Put the parts together; killed at any line of this, it is done once more."""
    parts = parts_in(folder.parts)
    done = replace(
        job,
        end="finished",
        rows=parts[-1].stop if parts else 0,
        scored=sum(part.scored for part in parts),
    )
    write_output(
        job.output, parts, done.as_json(), empty=_schema_without_rows(job.settings)
    )
    folder.save(done)
    return done


def _tidy(folder: JobFolder) -> None:
    """Drop what a finished job no longer needs; ``job.json`` stays."""
    shutil.rmtree(folder.parts, ignore_errors=True)
    for path in (folder.frame, folder.answers, folder.cancel):
        path.unlink(missing_ok=True)


def _schema_without_rows(settings: BatchSettings) -> pa.Schema:
    """The columns of an output without a row, as far as they are known."""
    added = Answers.blank(0).columns(settings)
    types = {name: column.type for name, column in added.items()}
    return pa.schema(list({settings.column: pa.string(), **types}.items()))
