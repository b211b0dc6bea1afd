"""The files that one process writes its records to: one chain, in segments."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from megatick_server.audit.record import (
    GENESIS_HASH,
    AuditKey,
    canonical,
    hash_of,
)
from megatick_server.errors import AuditError

_LOG = logging.getLogger(__name__)

SEGMENT_BYTES: Final = 64 * 2**20
"""A segment that has grown to so much is the last but one; to move and to compress."""

SUFFIX: Final = ".jsonl"


class Chain:
    """A chain that grows.  For one thread."""

    def __init__(
        self,
        folder: Path,
        key: AuditKey,
        *,
        model: str,
        about: Mapping[str, Any],
        segment_bytes: int = SEGMENT_BYTES,
    ) -> None:
        """Begin a chain with its first record.

        Args:
            folder: where; made if absent, for its owner alone.
            key: seals the records.
            model: whose replies; the chain is named for it, the time and the process.
            about: what the first record says beside its time.
            segment_bytes: a segment of at least so many is followed by another.

        Raises:
            AuditError: the folder cannot be written to.
        """
        started = datetime.now(UTC)
        self.name = f"{model}-{started:%Y%m%dT%H%M%S.%fZ}-{os.getpid()}"
        self._folder, self._key, self._segment_bytes = folder, key, segment_bytes
        self._seq, self._previous = 0, GENESIS_HASH
        self._segment, self._size, self._file = 0, 0, -1
        self._path = folder
        with self._explained():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._open_next()
        self.append([{"kind": "genesis", "chain": self.name, "model": model, **about}])
        self.sync()

    def append(self, records: Sequence[Mapping[str, Any]]) -> None:
        """Write records, all or none, with their time and place in the chain.

        Raises:
            AuditError: the disk is full, or does not take them; what it took is removed.
        """
        seq, previous, lines = self._seq, self._previous, []
        for record in records:
            whole = {"time_ns": time.time_ns(), **record, "seq": seq, "previous": previous}
            previous = hash_of(whole)
            whole |= {"hash": previous, "seal": self._key.seal(previous)}
            lines.append(canonical(whole) + b"\n")
            seq += 1
        with self._explained():
            changed = self._changed()
            if changed or self._size >= self._segment_bytes:
                self._open_next()
            if changed:
                _LOG.error("%s; the audit log goes on in %s", changed, self._path)
            try:
                self._write(b"".join(lines))
            except OSError:
                os.ftruncate(self._file, self._size)
                raise
        self._seq, self._previous = seq, previous

    def sync(self) -> None:
        """Wait until the disk has what was written.

        Raises:
            AuditError: it does not.
        """
        with self._explained():
            os.fsync(self._file)

    def close(self) -> None:
        """End the chain with a record that says so."""
        try:
            self.append([{"kind": "end"}])
            self.sync()
        finally:
            os.close(self._file)

    def _changed(self) -> str:
        """What somebody did to the segment since the last record; empty if nothing.

        What was written into a file without a name would be gone, and nobody be told.
        """
        found = os.fstat(self._file)
        if found.st_nlink == 0:
            return f"{self._path} was removed, and its records are lost"
        if found.st_size != self._size:
            return (
                f"{self._path} has {found.st_size} bytes where {self._size} were written: "
                "somebody else changes it"
            )
        return ""

    def _write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            left = left[os.write(self._file, left) :]
        self._size += len(data)

    def _open_next(self) -> None:
        path = self._folder / f"{self.name}.{self._segment + 1:06d}{SUFFIX}"
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_EXCL
        file = os.open(path, flags, 0o600)
        try:
            directory = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(directory)  # or the name may be lost with the power
            finally:
                os.close(directory)
            if self._file >= 0:
                os.fsync(self._file)
        except OSError:
            os.close(file)
            path.unlink()  # its name is tried again
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._path, self._size = file, path, 0
        self._segment += 1

    @contextlib.contextmanager
    def _explained(self) -> Any:
        try:
            yield
        except OSError as error:
            raise AuditError(
                self._folder, f"the audit log cannot be written: {error.strerror}"
            ) from error
