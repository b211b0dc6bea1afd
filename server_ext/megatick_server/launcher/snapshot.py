"""One state of a repository, which stays whatever becomes of the files' names.

A server that can be told to load another repository looks at its own every second, and
unloads at once what has vanished (tried with Triton 2.51: every model, when one file was
gone).  So it is not shown the repository but folders of our own, in which each file is a
link to a file that is held open here: deleting an export, or writing another one in its
place, changes nothing until ``TritonServer.reload``.

Triton loads a model again where a file or folder of it is younger than any was before.  An
older export is younger here all the same, since the folders' times are ours to give.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from pathlib import Path
from typing import Final

from megatick_server.errors import RepositoryError
from megatick_server.launcher.repository import Repository, check_readable

_SECOND_NS: Final = 1_000_000_000
"""The coarsest that a file system keeps times."""


class Snapshot:
    """Folders of links to open files; as long as this process lives, or until closed."""

    def __init__(self, repository: Repository, folder: Path) -> None:
        """Open every file of the models.

        Args:
            repository: what is to be served.
            folder: to be made; Triton is shown this one.

        Raises:
            RepositoryError: a file or folder cannot be read or is neither, or the new
                folder cannot be made; nothing is left.
        """
        self.repository, self.folder = repository, folder
        self._files: list[int] = []
        self._renewed_ns = 0
        try:
            for model in repository.models:
                self._take(repository.path / model, folder / model)
            self.renew()  # or the folders' times would not be known here
        except RepositoryError:
            self.close()
            raise
        except OSError as error:
            self.close()
            # The second name is the link's, where it is that which cannot be made.
            raise RepositoryError(
                Path(error.filename2 or error.filename or repository.path),
                f"cannot be read, or linked to: {error.strerror}",
                remedy="Let this user read it, and make room for temporary files.",
            ) from error

    def _take(self, source: Path, target: Path) -> None:
        target.mkdir(mode=0o700, parents=True)
        for each in sorted(source.iterdir()):
            link = target / each.name
            if each.is_dir():
                self._take(each, link)
                continue
            check_readable(each)
            self._files.append(os.open(each, os.O_RDONLY))
            # Whoever runs as this user may follow it, as long as this process lives.
            link.symlink_to(f"/proc/{os.getpid()}/fd/{self._files[-1]}")

    @property
    def youngest_ns(self) -> int:
        """Of its files' and folders' times the latest, in Unix time; it may be to come."""
        files = (os.fstat(each).st_mtime_ns for each in self._files)
        return max(self._renewed_ns, *files)

    def renew(self, model: str = "", *, than_ns: int = 0) -> None:
        """Let it be younger than it was, so that Triton loads it again.

        Args:
            model: this one alone.
            than_ns: and younger than this, in Unix time: files may come from a machine
                whose clock is ahead, and the clock of this one may be set back.

        Its versions' folders count too: where the model's alone is younger, Triton says
        that it loaded it and goes on with what it has (tried).
        """
        least_ns = max(than_ns, self.youngest_ns) + _SECOND_NS
        self._renewed_ns = max(time.time_ns(), least_ns)
        for folder, _, _ in os.walk(self.folder / model):
            os.utime(folder, ns=(self._renewed_ns, self._renewed_ns))

    def close(self) -> None:
        """Close the files and remove the folders; harmless if it was done."""
        while self._files:
            os.close(self._files.pop())
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(self.folder)
