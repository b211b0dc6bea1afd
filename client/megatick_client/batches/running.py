"""Running a job to its end, from wherever it was left."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Generator, Iterable
from contextlib import ExitStack, suppress
from copy import copy
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import pyarrow as pa

from megatick_client.batches.answers import Answers
from megatick_client.batches.checks import held_to
from megatick_client.batches.errors import (
    BatchError,
    BatchStopped,
    JobError,
    ScoringCancelled,
    ScoringError,
)
from megatick_client.batches.job import End, Job, JobFolder
from megatick_client.batches.one_model import OneModel
from megatick_client.batches.output import write_output
from megatick_client.batches.parts import PartWriter, parts_in
from megatick_client.batches.pipeline import Score, Scored, score_in_order
from megatick_client.batches.repeats import Repeats
from megatick_client.batches.scoring import Scorer
from megatick_client.batches.settings import BatchSettings
from megatick_client.batches.sources import check_unchanged, read_blocks
from megatick_client.batches.status import BatchStatus, status_of
from megatick_client.client import Client
from megatick_client.errors import ClientError
from megatick_contract import MegatickError
from megatick_contract.tables import Block

_DISK: Final = (OSError, sqlite3.Error, pa.ArrowException)
"""What a disk that is full, or gone, raises through those who write to it."""

_CANCELLED: Final = "it was cancelled."


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


def run(
    client: Client, folder: JobFolder, report: Report | None = None, *, new: bool = False
) -> BatchStatus:
    """Score the rows that are left, and write the output.

    Args:
        client: whose servers are asked.
        folder: of the job.
        report: called with the progress.
        new: the job was begun just now, so that its inputs need not be compared.

    Raises:
        BatchStopped: something stopped it; it can be resumed.
        JobError: there is none, another process runs it, or it is finished and its output
            is gone.
        SourceError: an input has changed since the job began.
        SettingError: its engine is not installed.
    """
    folder.load()  # there is one; what it says may change until the lock is ours
    with folder.lock():
        job = folder.load()
        if job.end != "finished":
            job.settings.check_engine()
            if not new:
                folder.cancel.unlink(missing_ok=True)  # of before; a later one counts
                for source in job.sources:
                    check_unchanged(source)
            if folder.cancel.exists():
                raise _left(folder, job, "cancelled", _CANCELLED)
            job = folder.ended(job, "")
            job = _score(client, folder, job, report or (lambda progress: None))
            job = _finish(folder, job)
        elif not job.output.exists():
            raise JobError(
                folder.path,
                f"the batch is finished, but its output {job.output} is gone.  Put it "
                "back, or delete the folder to begin anew.",
            )
        _tidy(folder)
    return status_of(folder.path)


def _score(client: Client, folder: JobFolder, job: Job, report: Report) -> Job:
    """Score what is left, part by part; return the job with its model's digest."""
    parts = parts_in(folder.parts)
    rows = parts[-1].stop if parts else 0
    scored_rows = sum(part.scored for part in parts)
    model = OneModel(job.model_digest)
    writer = PartWriter(folder.parts, job.settings)
    results = _results(client, folder, job, model, after=rows)
    try:
        for scored in results:
            if not job.model_digest and model.digest:
                job = replace(job, model_digest=model.digest)
                folder.save(job)
            writer.add(scored)
            rows = scored.block.stop
            scored_rows += scored.block.rows - len(scored.answers.problems)
            report(BatchProgress(rows, scored_rows, scored.block.read_bytes, job.size))
            if folder.cancel.exists():
                break
        writer.flush()
    except ScoringCancelled:
        pass
    except (BatchError, ScoringError, ClientError, *_DISK) as error:
        if not folder.cancel.exists():
            job = replace(job, model_digest=model.digest)
            raise _left(folder, job, "stopped", _reason(error, folder), writer) from error
    except BaseException:  # the process is told to end: keep what it has
        writer.flush()
        folder.save(replace(job, model_digest=model.digest))
        raise
    finally:
        results.close()
    job = replace(job, model_digest=model.digest)
    if folder.cancel.exists():
        raise _left(folder, job, "cancelled", _CANCELLED, writer)
    return job


def _reason(error: Exception, folder: JobFolder) -> str:
    if isinstance(error, MegatickError | ConnectionError):  # some are an OSError, too
        return str(error)
    return f"{type(error).__name__}: {error}.  Is the disk of {folder.path} full?"


def _left(
    folder: JobFolder, job: Job, end: End, reason: str, writer: PartWriter | None = None
) -> BatchStopped:
    """Keep what is done, as far as the disk takes it, and say how the job was left."""
    if writer:
        try:
            writer.flush()
        except _DISK as error:
            reason = f"{reason}  The rows since the last part are lost ({error})."
    with suppress(OSError):  # then the caller alone is told, and the job is "interrupted"
        folder.ended(job, end, reason)
    parts = parts_in(folder.parts)
    return BatchStopped(job.output, rows=parts[-1].stop if parts else 0, reason=reason)


def _results(
    client: Client, folder: JobFolder, job: Job, model: OneModel, *, after: int
) -> Generator[Scored, None, None]:
    """Score what is left with the job's engine; closing it ends the calls in flight."""
    settings = job.settings
    blocks = (held_to(each, settings) for each in read_blocks(job.sources, after=after))
    if settings.engine == "ray":
        from megatick_client.batches.on_ray import score_on_ray

        return score_on_ray(
            blocks,
            client=client,
            sources=job.sources,
            after=after,
            settings=settings,
            model=model,
            cancelled=folder.cancel.exists,
        )
    return _in_threads(client, folder, settings, model, blocks)


def _in_threads(
    client: Client,
    folder: JobFolder,
    settings: BatchSettings,
    model: OneModel,
    blocks: Iterable[Block],
) -> Generator[Scored, None, None]:
    own = copy(client)  # the caller's own stays open when this one's calls are ended
    scorer = Scorer(own, settings, model, folder.cancel.exists)

    def stop() -> None:
        scorer.stop.set()
        own.close()

    with ExitStack() as opened:
        score: Score = scorer
        if settings.dedupe:
            score = opened.enter_context(Repeats(scorer, folder.answers, model))
        yield from score_in_order(
            blocks, score, stop=stop, column=settings.column, in_flight=settings.in_flight
        )


def _finish(folder: JobFolder, job: Job) -> Job:
    """Put the parts together; killed at any line of this, it is done once more."""
    parts = parts_in(folder.parts)
    done = replace(
        job,
        end="finished",
        rows=parts[-1].stop if parts else 0,
        scored=sum(part.scored for part in parts),
    )
    empty = _schema_without_rows(job.settings)
    try:
        write_output(job.output, parts, done.as_json(), empty=empty)
        folder.save(done)
    except _DISK as error:
        raise _left(folder, job, "stopped", _reason(error, folder)) from error
    return done


def _tidy(folder: JobFolder) -> None:
    """Drop what a finished job no longer needs; ``job.json`` stays."""
    shutil.rmtree(folder.parts, ignore_errors=True)
    for path in (folder.frame, folder.cancel, *folder.path.glob("answers.sqlite*")):
        path.unlink(missing_ok=True)


def _schema_without_rows(settings: BatchSettings) -> pa.Schema:
    """The columns of an output without a row, as far as they are known."""
    added = Answers.blank(0).columns(settings)
    types = {name: column.type for name, column in added.items()}
    return pa.schema(list({settings.column: pa.string(), **types}.items()))
