"""Writing a folder beside its place, so that what has its name is whole.

with written_aside(Path("model_repository")) as folder:
    (folder / "receipt.json").write_text(receipt)
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from megatick_contract.files import UNFINISHED_SUFFIX, to_disk

# What this process is writing now: its number may have been another's before, and in a
# container it nearly always was.
_being_written: Final[set[Path]] = set()


@contextlib.contextmanager
def written_aside(target: Path) -> Iterator[Path]:
    """Give an empty folder beside ``target`` that becomes it when the block ends well.

    The folder is called ``.{target.name}.{process id}.unfinished``.  What a process that
    was killed left behind for the same target is removed first; process ids are compared,
    so writers in several containers need a target each.

    Args:
        target: a path that does not exist; parents that are missing are made.

    Yields:
        The folder to write into, with the permissions that the umask leaves.

    Raises:
        FileExistsError: the target exists, before the block or after it.
        OSError: it cannot be made or renamed, or what is in it does not reach the disk.

    After any exception, the block's own included, neither the folder nor a parent that
    was made for it is left.
    """
    target = target.absolute()
    _refuse_existing(target)
    _sweep(target)
    aside = target.with_name(f".{target.name}.{os.getpid()}{UNFINISHED_SUFFIX}")
    missing = [parent for parent in target.parents if not parent.exists()]
    made: list[Path] = []
    try:
        for folder in reversed(missing):
            folder.mkdir(exist_ok=True)
            made.append(folder)
        aside.mkdir()
        made.append(aside)
        _being_written.add(aside)
        yield aside
        # A rename can outlive a power cut that the files behind it do not, and some file
        # systems say only now that they had no room.
        for path in (*aside.rglob("*"), aside):
            to_disk(path)
        _refuse_existing(target)  # a rename would replace an empty folder silently
        aside.rename(target)
    except BaseException:
        for folder in reversed(made):
            if folder == aside:
                shutil.rmtree(folder, ignore_errors=True)
                continue
            with contextlib.suppress(OSError):  # another writer has put something there
                folder.rmdir()
        raise
    finally:
        if aside in made:
            _being_written.discard(aside)


def _refuse_existing(target: Path) -> None:
    if os.path.lexists(target):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(target))


def _sweep(target: Path) -> None:
    """Remove the folders of this target whose process has ended."""
    if not target.parent.is_dir():
        return
    name = re.compile(rf"\.{re.escape(target.name)}\.(\d+){re.escape(UNFINISHED_SUFFIX)}")
    for folder in target.parent.iterdir():
        found = name.fullmatch(folder.name)
        if found and folder not in _being_written and not _runs(int(found[1])):
            # One that cannot be removed is in nobody's way, and its name says what it is.
            shutil.rmtree(folder, ignore_errors=True)


def _runs(process: int) -> bool:
    """Tell whether another process of this number runs."""
    if process == os.getpid():
        return False
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass  # it runs, as another user
    return True
