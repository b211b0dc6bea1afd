"""Folders written aside: whole under their name, or not there at all."""

from __future__ import annotations

import errno
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from megatick_contract.files import UNFINISHED_SUFFIX
from megatick_export.aside import written_aside


@pytest.fixture
def ended() -> int:
    """The number of a process that ran, and has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def partial(target: Path, process: int) -> Path:
    return target.parent / f".{target.name}.{process}{UNFINISHED_SUFFIX}"


def left_behind(target: Path, process: int) -> Path:
    """What a process leaves that is killed as it writes."""
    folder = partial(target, process)
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "file").write_text("half")
    return folder


def test_it_becomes_the_target_at_the_end(tmp_path: Path) -> None:
    target = tmp_path / "target"

    with written_aside(target) as folder:
        assert folder == partial(target, os.getpid())
        assert folder.suffix == UNFINISHED_SUFFIX
        (folder / "file").write_text("whole")
        assert not target.exists()

    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert (target / "file").read_text() == "whole"


def test_all_of_it_is_on_the_disk_before_it_has_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target, synced = tmp_path / "target", set()

    def fsync(handle: int) -> None:
        assert not target.exists()
        synced.add(Path(f"/proc/self/fd/{handle}").readlink())

    monkeypatch.setattr(os, "fsync", fsync)

    with written_aside(target) as folder:
        (folder / "inside").mkdir()
        (folder / "inside" / "file").touch()

    assert target.exists()
    assert synced == {folder, folder / "inside", folder / "inside" / "file"}


def test_a_disk_that_is_full_at_last_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As over a network, where a write may be accepted that has no room."""

    def fsync(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)

    with (
        pytest.raises(OSError, match="No space left"),
        written_aside(tmp_path / "target") as folder,
    ):
        (folder / "file").touch()

    assert list(tmp_path.iterdir()) == []


def test_a_relative_target(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is where it was when the block began."""
    monkeypatch.chdir(tmp_path)

    with written_aside(Path("a/b")) as folder:
        os.chdir("/")
        (folder / "file").touch()

    assert (tmp_path / "a" / "b" / "file").exists()


@pytest.mark.parametrize("mask", [0o022, 0o077, 0o002], ids=oct)
def test_permissions_are_what_the_umask_leaves(tmp_path: Path, mask: int) -> None:
    before = os.umask(mask)
    try:
        with written_aside(tmp_path / "parent" / "target"):
            pass
    finally:
        os.umask(before)

    for folder in (tmp_path / "parent", tmp_path / "parent" / "target"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o777 & ~mask


@pytest.mark.parametrize(
    "error", [OSError, ValueError, KeyboardInterrupt, SystemExit, GeneratorExit]
)
def test_nothing_is_left_of_a_failure(tmp_path: Path, error: type[BaseException]) -> None:
    raised = error("as it was")

    def write() -> None:
        with written_aside(tmp_path / "a" / "b") as folder:
            (folder / "inside").mkdir()
            (folder / "inside" / "file").touch()
            raise raised

    with pytest.raises(error) as caught:
        write()

    assert caught.value is raised
    assert list(tmp_path.iterdir()) == []


def test_a_parent_that_another_uses_is_kept(tmp_path: Path) -> None:
    def write() -> None:
        with written_aside(tmp_path / "a" / "b" / "c"):
            (tmp_path / "a" / "theirs").touch()
            raise ValueError("mine")

    with pytest.raises(ValueError, match="mine"):
        write()

    assert [path.name for path in (tmp_path / "a").iterdir()] == ["theirs"]


def make_file(path: Path) -> None:
    path.write_text("theirs")


def make_folder(path: Path) -> None:
    path.mkdir()


def make_dangling_link(path: Path) -> None:
    path.symlink_to("nowhere")


MAKERS = [make_file, make_folder, make_dangling_link]


@pytest.mark.parametrize("make", MAKERS)
def test_a_target_that_exists(tmp_path: Path, make: Callable[[Path], None]) -> None:
    target = tmp_path / "target"
    make(target)

    with pytest.raises(FileExistsError) as refusal, written_aside(target):
        pytest.fail("the block was entered")

    assert refusal.value.filename == str(target)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("make", MAKERS)
def test_a_target_that_came_meanwhile(tmp_path: Path, make: Callable[[Path], None]) -> None:
    """A rename would replace an empty folder and say nothing."""
    target = tmp_path / "target"

    def write() -> None:
        with written_aside(target) as folder:
            (folder / "file").touch()
            make(target)

    with pytest.raises(FileExistsError):
        write()

    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    assert not (target / "file").exists()


@pytest.mark.parametrize(
    ("name", "number"),
    [
        pytest.param("x" * 300, errno.ENAMETOOLONG, id="name-too-long"),
        pytest.param(f"a/b/{'x' * 300}", errno.ENAMETOOLONG, id="below-new-parents"),
        pytest.param("x" * 250, errno.ENAMETOOLONG, id="too-long-with-the-suffix"),
        pytest.param("file/target", errno.ENOTDIR, id="in-a-file"),
    ],
)
def test_a_target_that_cannot_be(tmp_path: Path, name: str, number: int) -> None:
    (tmp_path / "file").touch()

    with (
        pytest.raises(OSError, match=str(number)) as refusal,
        written_aside(tmp_path / name),
    ):
        pytest.fail("the block was entered")

    assert refusal.value.errno == number
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


class TestLeftovers:
    def test_of_an_ended_process(self, tmp_path: Path, ended: int) -> None:
        target = tmp_path / "target"
        leftover = left_behind(target, ended)

        with written_aside(target):
            assert not leftover.exists()

    def test_of_a_number_that_no_process_has(self, tmp_path: Path) -> None:
        leftover = left_behind(tmp_path / "target", 10**30)

        with written_aside(tmp_path / "target"):
            assert not leftover.exists()

    def test_of_another_users_process(
        self, tmp_path: Path, ended: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The system refuses the signal, so there is a process to refuse it to."""
        leftover = left_behind(tmp_path / "target", ended)

        def refuse(process: int, signal: int) -> None:
            assert (process, signal) == (ended, 0)
            raise PermissionError

        monkeypatch.setattr(os, "kill", refuse)

        with written_aside(tmp_path / "target"):
            assert leftover.is_dir()

    def test_of_this_number_from_another_life(self, tmp_path: Path) -> None:
        """A container's processes have the same few numbers each time it starts."""
        target = tmp_path / "target"
        left_behind(target, os.getpid())

        with written_aside(target) as folder:
            assert list(folder.iterdir()) == []

    @pytest.mark.parametrize("name", ["target", "t[a-z]*", "a.b"])
    def test_others_are_kept(self, tmp_path: Path, ended: int, name: str) -> None:
        target = tmp_path / name
        kept = [
            left_behind(target, os.getppid()),  # it runs
            left_behind(tmp_path / "targets", ended),
            left_behind(tmp_path / "a-b", ended),
            left_behind(tmp_path / "t", ended),
        ]
        for other in (".target.unfinished", ".target.x.unfinished", f".target.{ended}"):
            kept.append(tmp_path / other)
            kept[-1].mkdir()

        with written_aside(target):
            pass

        assert all(folder.is_dir() for folder in kept)

    def test_of_a_target_that_exists(self, tmp_path: Path, ended: int) -> None:
        """Refused before anything is changed."""
        target = tmp_path / "target"
        target.mkdir()
        leftover = left_behind(target, ended)

        with pytest.raises(FileExistsError), written_aside(target):
            pass

        assert leftover.is_dir()

    def test_one_that_is_being_written(self, tmp_path: Path) -> None:
        """Two threads, say: the second is refused, the first undisturbed."""
        target = tmp_path / "target"

        with written_aside(target) as folder:
            (folder / "file").touch()
            with pytest.raises(FileExistsError), written_aside(target):
                pytest.fail("the block was entered")
            assert (folder / "file").exists()

        assert (target / "file").exists()
