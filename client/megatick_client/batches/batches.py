"""Batches as a client offers them: begin one, take it up again, look at it, stop it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

from megatick_client.batches.checks import check_sources
from megatick_client.batches.errors import JobError
from megatick_client.batches.frames import keep_frame
from megatick_client.batches.job import Job, JobFolder
from megatick_client.batches.output import check_output
from megatick_client.batches.running import Report, run
from megatick_client.batches.settings import BatchSettings, Engine
from megatick_client.batches.sources import find_files
from megatick_client.batches.status import BatchStatus, status_of, statuses_in
from megatick_client.client import Client
from megatick_contract import Truncation
from megatick_contract.admission import Priority
from megatick_contract.tables import Source

IN_FLIGHT_PER_SERVER = 8
"""Requests of 32 rows: a server that packs them has more than one batch of work waiting."""


class Batches:
    """Scores files and frames of any size; ``client.batches`` is one."""

    def __init__(self, client: Client) -> None:
        self._client = client

    def submit(
        self,
        source: Any,
        *,
        output: str | Path,
        column: str = BatchSettings.column,
        prefix: str = BatchSettings.prefix,
        truncation: Truncation = BatchSettings.truncation,
        priority: Priority = BatchSettings.priority,
        dedupe: bool = BatchSettings.dedupe,
        engine: Engine = BatchSettings.engine,
        in_flight: int | None = None,
        timeout_s: float = BatchSettings.timeout_s,
        patience_s: float = BatchSettings.patience_s,
        report: Report | None = None,
    ) -> BatchStatus:
        """Score every row of an input, and return when its output is written.

        What is done is kept in the folder ``OUTPUT.job``, so that ``resume`` finishes a
        batch that was stopped in whatever way, with every row once.  Rows that cannot be
        scored are left out, and listed with their reasons in ``OUTPUT.errors.jsonl``.

        Args:
            source: a file (CSV or JSON lines, also with .gz or .zst; Parquet), a folder of
                such, or a glob; or a frame of pandas, polars or Arrow.
            output: what to write: .parquet or .jsonl, the input's columns and rows in their
                order, with the columns of ``Sentiments.to_frame`` added.
            column: see ``BatchSettings``, as for the others.
            prefix: put before the names of the columns that are added.
            truncation: of a text longer than the model's window.
            priority: "backfill" lets live calls pass.
            dedupe: score equal texts once.
            engine: "threads", or "ray" for the machines of a Ray cluster.
            in_flight: requests at a time; None for 8 a server of the client.
            timeout_s: of one request, seconds.
            patience_s: how long servers may be silent before the batch stops, seconds.
            report: called with the progress after every few rows.

        Raises:
            SettingError: a setting is out of its range.
            SourceError: the input is absent, damaged, or lacks the column.
            JobError: there is an output, or a batch for it, already.
            BatchStopped: it stopped before its end, and can be resumed.
        """
        settings = BatchSettings(
            column=column,
            prefix=prefix,
            truncation=truncation,
            priority=priority,
            dedupe=dedupe,
            engine=engine,
            in_flight=self._default_in_flight() if in_flight is None else in_flight,
            timeout_s=timeout_s,
            patience_s=patience_s,
        )
        settings.check_engine()
        output = Path(output)
        check_output(output)
        folder = JobFolder.beside(output)
        if folder.exists():
            raise JobError(
                folder.path,
                f"holds a batch that is {status_of(output).state}.  Resume it, or delete "
                "the folder to begin anew.",
            )
        if output.exists():
            raise JobError(folder.path, f"{output.name} is there already.  Move it away.")
        folder.parts.mkdir(parents=True, exist_ok=True)
        try:
            sources = self._sources(source, folder)
            check_sources(sources, settings)
            folder.save(Job.begun(output, sources, settings))
        except BaseException:
            if not folder.exists():  # nothing was begun
                shutil.rmtree(folder.path, ignore_errors=True)
            raise
        return run(self._client, folder, report, new=True)

    def resume(self, output: str | Path, *, report: Report | None = None) -> BatchStatus:
        """Take up the batch that writes this output, and return when it is written.

        Args:
            output: as it was submitted; or the folder ``OUTPUT.job``.
            report: as for ``submit``.

        Raises:
            JobError: there is none, or another process runs it.
            SourceError: an input has changed.
            BatchStopped: it stopped again.
        """
        return run(self._client, JobFolder.beside(output), report)

    @staticmethod
    def status(output: str | Path) -> BatchStatus:
        """Look at the batch that writes this output.

        Raises:
            JobError: there is none.
        """
        return status_of(output)

    @staticmethod
    def list(folder: str | Path = ".") -> tuple[BatchStatus, ...]:
        """Look at every batch that writes to this folder."""
        return statuses_in(folder)

    @staticmethod
    def cancel(output: str | Path) -> BatchStatus:
        """Stop the batch that writes this output; what it scored is kept.

        A process that runs it stops within about a request's time.

        Raises:
            JobError: there is none, or it is finished.
        """
        folder = JobFolder.beside(output)
        _check_unfinished(folder)
        folder.cancel.touch()  # for who runs it
        with folder.try_lock() as idle:
            if idle:
                try:  # it may have ended until the lock was ours
                    job = _check_unfinished(folder)
                except JobError:
                    folder.cancel.unlink(missing_ok=True)
                    raise
                folder.ended(job, "cancelled", "it was cancelled.")
        return status_of(output)

    @staticmethod
    def _sources(source: Any, folder: JobFolder) -> tuple[Source, ...]:
        """Find the files of an input; a frame becomes one."""
        if isinstance(source, str | os.PathLike):
            files = find_files(Path(source))
        else:
            keep_frame(source, folder.frame)
            files = (folder.frame,)
        return tuple(map(Source.of, files))

    def _default_in_flight(self) -> int:
        return IN_FLIGHT_PER_SERVER * len(self._client.addresses)


def _check_unfinished(folder: JobFolder) -> Job:
    job = folder.load()
    if job.end == "finished":
        raise JobError(folder.path, "the batch is finished, nothing is left to cancel")
    return job
