from __future__ import annotations

from pathlib import Path

import pytest

from megatick_contract.files import whole


def test_a_reader_sees_the_old_content_until_the_new_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")

    with whole(path) as unfinished:
        unfinished.write_text("ne")
        assert path.read_text() == "old"
        unfinished.write_text("new")

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_what_a_crash_left_is_written_over(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    (tmp_path / ".figures.json.unfinished").write_text("half of what was there once")

    with whole(path) as unfinished:
        unfinished.write_text("new")

    assert path.read_text() == "new"
    assert list(tmp_path.iterdir()) == [path]


def test_a_link_stays_a_link_to_what_is_written(tmp_path: Path) -> None:
    (tmp_path / "volume").mkdir()
    target, link = tmp_path / "volume" / "dated.json", tmp_path / "latest.json"
    target.write_text("old")
    link.symlink_to(target)

    with whole(link) as unfinished:
        unfinished.write_text("new")

    assert link.is_symlink()
    assert target.read_text() == "new"
    assert [*target.parent.iterdir()] == [target]


def test_a_device_is_written_to_and_not_replaced() -> None:
    with whole(Path("/dev/null")) as unfinished:
        assert unfinished == Path("/dev/null")


def fail_half_way(path: Path) -> None:
    path.write_text("half")
    raise ZeroDivisionError


def test_what_fails_half_way_leaves_nothing_of_itself(tmp_path: Path) -> None:
    path = tmp_path / "figures.json"
    path.write_text("old")

    with pytest.raises(ZeroDivisionError), whole(path) as unfinished:
        fail_half_way(unfinished)

    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
