"""A batch on disk: the folder ``OUTPUT.job``, and what it says of itself.

scores.parquet.job/
  job.json        settings, inputs, the model's digest, and how it ended
  parts/          the rows that are done, see megatick_client.batches.parts
  input.parquet   of a frame, which has no file of its own
  answers.sqlite  with ``dedupe``
  lock            held by the process that runs it, until that ends in whatever way
  cancel          its being there stops that process
"""

from __future__ import annotations

import fcntl
import json
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, Literal

from megatick_client.batches.errors import JobError
from megatick_client.batches.settings import BatchSettings
from megatick_contract.files import whole
from megatick_contract.tables import Source

End = Literal["", "finished", "cancelled", "stopped"]
"""How the process that ran a job left it; empty where it had no time to say."""

_LAYOUT: Final = 1  # of job.json; another release may have another
_A_LOOK_S: Final = 0.5  # longer than who looks at a job has its lock


@dataclass(frozen=True)
class Job:
    """What ``job.json`` holds.

    Attributes:
        id: unlike any other's.
        output: the file that it writes, absolute.
        sources: the files that it reads, in their order.
        settings: how.
        created_at_utc: ISO 8601.
        model_digest: SHA-256 of the model that answers; empty before it first did.
        end: see ``End``.
        reason: of an end that is not "finished".
        rows: of the input, once finished.
        scored: of them, once finished.
    """

    id: str
    output: Path
    sources: tuple[Source, ...]
    settings: BatchSettings
    created_at_utc: str
    model_digest: str = ""
    end: End = ""
    reason: str = ""
    rows: int = 0
    scored: int = 0

    @classmethod
    def begun(cls, output: Path, sources: Sequence[Source], settings: BatchSettings) -> Job:
        """Make a new one."""
        now = datetime.now(UTC).isoformat(timespec="seconds")
        return cls(uuid.uuid4().hex[:12], output.absolute(), tuple(sources), settings, now)

    @property
    def size(self) -> int:
        """Bytes of its input."""
        return sum(source.size for source in self.sources)

    def as_json(self) -> dict[str, Any]:
        """What a file says of it."""
        return json.loads(json.dumps({"layout": _LAYOUT, **asdict(self)}, default=str))  # type: ignore[no-any-return]

    @classmethod
    def of_json(cls, path: Path) -> Job:
        """Read it back.

        Raises:
            JobError: the file is no job of this release.
        """
        try:
            told = json.loads(path.read_bytes())
            if told.pop("layout") != _LAYOUT:
                raise ValueError("another layout")
            told["output"] = Path(told["output"])
            told["settings"] = BatchSettings(**told["settings"])
            told["sources"] = tuple(
                Source(**{**source, "path": Path(source["path"])})
                for source in told["sources"]
            )
            return cls(**told)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise JobError(
                path.parent, f"job.json is no job of this release of Megatick ({error})"
            ) from error


@dataclass(frozen=True)
class JobFolder:
    """The folder of a job.

    Attributes:
        path: ``OUTPUT.job``.
    """

    path: Path

    @classmethod
    def beside(cls, output: str | Path) -> JobFolder:
        """Name the folder of the job that writes an output, given either's path."""
        path = Path(output)
        if path.suffix == ".job":
            return cls(path)
        return cls(path.with_name(f"{path.name}.job"))

    @property
    def parts(self) -> Path:
        """Where the rows are that are done."""
        return self.path / "parts"

    @property
    def frame(self) -> Path:
        """Where a frame is kept."""
        return self.path / "input.parquet"

    @property
    def answers(self) -> Path:
        """Where answers are kept by their texts."""
        return self.path / "answers.sqlite"

    @property
    def cancel(self) -> Path:
        """The file that stops who runs the job."""
        return self.path / "cancel"

    def exists(self) -> bool:
        """Whether a job was begun here."""
        return (self.path / "job.json").is_file()

    def load(self) -> Job:
        """Read the job.

        Raises:
            JobError: there is none.
        """
        if not self.exists():
            raise JobError(self.path, "expected the folder of a batch, found none")
        return Job.of_json(self.path / "job.json")

    def save(self, job: Job) -> None:
        """Write the job."""
        with whole(self.path / "job.json") as path:
            path.write_text(json.dumps(job.as_json(), indent=2) + "\n", encoding="utf-8")

    def ended(self, job: Job, end: End, reason: str = "") -> Job:
        """Write how the job was left."""
        ended = replace(job, end=end, reason=reason)
        self.save(ended)
        return ended

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Be the one process that runs the job.

        Raises:
            JobError: another one does.
        """
        with self.try_lock() as locked:
            if not locked:
                raise JobError(self.path, "another process runs this batch")
            yield

    @contextmanager
    def try_lock(self) -> Iterator[bool]:
        """Hold the lock, and tell so; or tell that another process has it.

        Who only looks at the job shares it for a moment: so long it is waited for.
        """
        until_s = time.monotonic() + _A_LOOK_S
        handle = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            while not (locked := _flock(handle, fcntl.LOCK_EX)):
                only_looked_at = _flock(handle, fcntl.LOCK_SH)
                if not only_looked_at or time.monotonic() > until_s:
                    break
                fcntl.flock(handle, fcntl.LOCK_UN)
                time.sleep(0.01)
            yield locked
        finally:
            os.close(handle)

    def runs(self) -> bool:
        """Whether a process runs the job."""
        try:
            handle = os.open(self.path / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return not _flock(handle, fcntl.LOCK_SH)
        finally:
            os.close(handle)


def _flock(handle: int, kind: int) -> bool:
    """Take a lock, which the kernel gives back when the process ends; or tell it is not."""
    try:
        fcntl.flock(handle, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
