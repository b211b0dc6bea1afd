"""A chain, and what is found when somebody changed it."""

from __future__ import annotations

import errno
import hashlib
import hmac
import json
import os
import shutil
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatick_server.audit import AuditError, AuditKey, ChainReport, verify_folder
from megatick_server.audit.chain import Chain
from megatick_server.audit.record import canonical, hash_of

KEY = AuditKey(b"k" * 32)
Lines = list[bytes]


def write(folder: Path, replies: int = 5, *, end: bool = True, **options: Any) -> Path:
    """Write a chain: record 0 begins it, 1 to ``replies`` follow; its first segment."""
    chain = Chain(folder, KEY, model="scorer", about={"model_digest": "d"}, **options)
    for number in range(replies):
        chain.append([{"kind": "reply", "value": number / 8}])
    if end:
        chain.close()
    return min(folder.glob("*.jsonl"))


def check(folder: Path, key: AuditKey | None = KEY) -> ChainReport:
    (report,) = verify_folder(folder, key)
    return report


def test_a_chain_is_as_documented(tmp_path: Path) -> None:
    """Each hash is SHA-256 of the line without it and its seal; each seal, its HMAC."""
    file = write(tmp_path)

    previous = "0" * 64
    for seq, line in enumerate(file.read_bytes().splitlines()):
        record = json.loads(line)
        assert (record["seq"], record["previous"]) == (seq, previous)
        own, seal = record.pop("hash"), record.pop("seal")
        bare = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
        assert own == hashlib.sha256(bare).hexdigest()
        assert seal == hmac.new(b"k" * 32, b"record\0" + own.encode(), "sha256").hexdigest()
        previous = own
    report = check(tmp_path)
    assert (report.findings, report.torn, report.ended) == ((), None, True)
    assert (report.records, report.head) == (7, previous)  # the first, five, and the end


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    file = write(tmp_path / "new")

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def forged(**values: Any) -> bytes:
    """A last line that whoever lacks the key can write: its hash is right."""
    record = {"seq": 7, "previous": "0" * 64, "kind": "reply"} | values
    record = {name: value for name, value in record.items() if value is not None}
    return canonical({"hash": hash_of(record), "seal": "f" * 64} | record) + b"\n"


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(forged(kind=None), id="of-no-kind"),
        pytest.param(forged(kind="lost"), id="loses-nothing"),
        pytest.param(forged(kind="lost", count="x"), id="loses-a-word"),
        pytest.param(forged(kind="lost", count=-7), id="loses-less-than-none"),
        pytest.param(forged(seq=True), id="true-is-no-number"),
        pytest.param(forged(seq=-1), id="before-the-first"),
        pytest.param(forged(hash="\x1b[2J"), id="a-hash-that-clears-the-screen"),
        pytest.param(forged(seal="\ud800"), id="a-seal-that-cannot-be-printed"),
        pytest.param(b"[" * 100_000 + b"]" * 100_000 + b"\n", id="100,000-brackets"),
    ],
)
def test_a_line_that_no_server_writes_is_named(tmp_path: Path, line: bytes) -> None:
    file = write(tmp_path)  # records 0 to 6
    file.write_bytes(file.read_bytes() + line)

    report = check(tmp_path)

    (finding,) = report.findings
    assert (finding.line, finding.problem) == (8, "is no record: it was edited")
    assert (report.records, report.lost) == (7, 0)


def edited(lines: Lines) -> Lines:
    return [*lines[:3], lines[3].replace(b"0.25", b"0.75"), *lines[4:]]


def spaced(lines: Lines) -> Lines:
    return [*lines[:3], lines[3].replace(b":", b": ", 1), *lines[4:]]


def rehashed(lines: Lines) -> Lines:
    """The line's own hash is made to fit what it now holds."""
    record = json.loads(edited(lines)[3])
    return [*lines[:3], canonical(record | {"hash": hash_of(record)}) + b"\n", *lines[4:]]


@pytest.mark.parametrize(
    ("change", "line", "problem"),
    [
        pytest.param(edited, 4, "was edited", id="a-value"),
        pytest.param(spaced, 4, "is no record", id="a-space"),
        pytest.param(lambda ls: [*ls[:3], b"\n", *ls[4:]], 4, "is no record", id="blank"),
        pytest.param(
            lambda ls: ls[:3] + ls[4:], 4, "1 before it are missing", id="deleted"
        ),
        pytest.param(lambda ls: ls[1:], 1, "1 before it are missing", id="no-first"),
        pytest.param(lambda ls: [*ls[:4], *ls[3:]], 5, "moved or repeated", id="repeated"),
        pytest.param(rehashed, 4, "not sealed with this key", id="rehashed"),
    ],
)
def test_a_change_is_named_by_its_line(
    tmp_path: Path, change: Callable[[Lines], Lines], line: int, problem: str
) -> None:
    file = write(tmp_path)
    file.write_bytes(b"".join(change(file.read_bytes().splitlines(keepends=True))))

    found = check(tmp_path).findings

    assert (found[0].file, found[0].line) == (file, line)
    assert problem in found[0].problem
    assert len(found) == (2 if change is rehashed else 1)


def test_swapped_lines(tmp_path: Path) -> None:
    file = write(tmp_path)
    lines = file.read_bytes().splitlines(keepends=True)
    lines[3], lines[4] = lines[4], lines[3]
    file.write_bytes(b"".join(lines))

    assert [each.line for each in check(tmp_path).findings] == [4, 5]


def test_without_the_key_a_replaced_line_shows_in_the_next(tmp_path: Path) -> None:
    file = write(tmp_path)
    lines = rehashed(file.read_bytes().splitlines(keepends=True))
    file.write_bytes(b"".join(lines))

    (found,) = check(tmp_path, None).findings

    assert found.line == 5
    assert "that one was replaced" in found.problem


def test_a_chain_that_was_written_anew_needs_the_key(tmp_path: Path) -> None:
    file = write(tmp_path)
    previous, forged = "0" * 64, []
    for line in edited(file.read_bytes().splitlines()):
        record = json.loads(line) | {"previous": previous}
        previous = hash_of(record)
        forged.append(canonical(record | {"hash": previous}) + b"\n")
    file.write_bytes(b"".join(forged))

    assert check(tmp_path, None).findings == ()
    assert "not sealed with this key" in check(tmp_path).findings[0].problem


def test_a_torn_last_line_is_no_tampering(tmp_path: Path) -> None:
    file = write(tmp_path, end=False)
    file.write_bytes(file.read_bytes()[:-20])

    report = check(tmp_path)

    assert report.findings == ()
    assert report.torn is not None
    assert (report.torn.file, report.torn.line) == (file, 6)
    assert not report.ended


def test_a_cut_end_shows_against_a_kept_head_alone(tmp_path: Path) -> None:
    file = write(tmp_path)
    kept = check(tmp_path).head
    file.write_bytes(b"".join(file.read_bytes().splitlines(keepends=True)[:-2]))

    report = check(tmp_path)

    assert report.findings == ()
    assert kept not in report.hashes


def test_segments(tmp_path: Path) -> None:
    write(tmp_path, segment_bytes=1)
    files = sorted(tmp_path.glob("*.jsonl"))

    assert [file.name[-12:] for file in files] == [f"{n:06d}.jsonl" for n in range(1, 8)]
    assert check(tmp_path).findings == ()
    files[3].unlink()
    found = check(tmp_path).findings
    assert [(each.file, each.line) for each in found] == [(files[4], 1)] * 2
    assert "segment 4 is missing" in found[0].problem
    assert "1 before it are missing" in found[1].problem


def test_a_full_disk_leaves_whole_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half of a record is written, then the disk is full; then there is room again."""
    chain = Chain(tmp_path, KEY, model="scorer", about={})
    real = os.write
    calls = iter([lambda f, data: real(f, data[: len(data) // 2]), _full])
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", lambda f, data: next(calls)(f, data))
        with pytest.raises(AuditError, match="No space left"):
            chain.append([{"kind": "reply"}])
    chain.append([{"kind": "reply"}])
    chain.close()

    report = check(tmp_path)
    assert (report.findings, report.torn, report.records) == ((), None, 3)


def test_a_segment_that_cannot_be_begun_is_begun_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = Chain(tmp_path, KEY, model="scorer", about={}, segment_bytes=1)
    before = os.listdir("/proc/self/fd")

    def fails(file: int) -> None:
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fails)
        with pytest.raises(AuditError, match="Input/output error"):
            chain.append([{"kind": "reply"}])
    assert os.listdir("/proc/self/fd") == before
    chain.append([{"kind": "reply"}])
    chain.close()

    report = check(tmp_path)
    assert (report.findings, report.torn, report.records) == ((), None, 3)


def _removed(file: Path) -> None:
    file.unlink()


def _cut(file: Path) -> None:
    os.truncate(file, 0)  # logrotate's copytruncate


def _added_to(file: Path) -> None:
    with file.open("ab") as log:
        log.write(b"not ours\n")


@pytest.mark.parametrize(
    ("change", "said", "lost"),
    [
        pytest.param(_removed, "was removed", "2 before it are missing", id="removed"),
        pytest.param(_cut, "has 0 bytes where", "2 before it are missing", id="cut"),
        pytest.param(_added_to, "somebody else changes it", "no record", id="added-to"),
    ],
)
def test_a_segment_that_somebody_changed_is_followed_by_another(
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Path], None],
    said: str,
    lost: str,
) -> None:
    """Nothing more is lost: records 0 and 1 may be, and 2 to 4 are in the next segment."""
    chain = Chain(tmp_path, KEY, model="scorer", about={})
    chain.append([{"kind": "reply"}])
    (file,) = tmp_path.glob("*.jsonl")
    change(file)
    chain.append([{"kind": "reply"}])
    chain.append([{"kind": "reply"}])
    chain.close()

    (error,) = caplog.messages
    assert said in error
    following = tmp_path / file.name.replace(".000001.", ".000002.")
    assert str(following) in error
    numbers = [json.loads(line)["seq"] for line in following.read_bytes().splitlines()]
    assert numbers == [2, 3, 4]
    assert lost in " ".join(each.problem for each in check(tmp_path).findings)


def test_nothing_is_written_where_the_folder_is_gone(tmp_path: Path) -> None:
    """A mount that is gone, say: its records do not belong onto the disk beneath it."""
    folder = tmp_path / "log"
    chain = Chain(folder, KEY, model="scorer", about={})
    shutil.rmtree(folder)

    with pytest.raises(AuditError, match="No such file"):
        chain.append([{"kind": "reply"}])
    folder.mkdir()
    chain.append([{"kind": "reply"}])
    chain.close()

    assert check(folder).records == 2  # the reply and the end


def _full(file: int, data: Any) -> int:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_inputs_are_known_by_a_keyed_hash() -> None:
    """HMAC-SHA256 of a name that no other input has, and the row's bytes."""
    text = np.array(["Gewinn ü".encode()], object)
    prices = np.array([np.nan, 1.5], np.float32)
    other_nan = np.array([0xFFC00001, 0x3FC00000], np.uint32).view(np.float32)

    expected = hmac.new(b"k" * 32, b"input\0TEXT\0Gewinn \xc3\xbc", "sha256").hexdigest()
    assert KEY.of_input("TEXT", text) == expected
    numbers = b"\x00\x00\xc0\x7f\x00\x00\xc0\x3f"
    expected = hmac.new(b"k" * 32, b"input\0PRICES\0" + numbers, "sha256").hexdigest()
    assert KEY.of_input("PRICES", prices) == expected
    assert KEY.of_input("PRICES", other_nan) == expected


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(b"s3cret\n", "at least 32 characters", id="brief"),
        (b"a" * 32 + b"\n" + b"b" * 32, "one line"),
        (None, "cannot be read: No such file"),
    ],
)
def test_no_such_key(tmp_path: Path, content: bytes | None, message: str) -> None:
    file = tmp_path / "key"
    if content is not None:
        file.write_bytes(content)

    with pytest.raises(AuditError, match=message) as refused:
        AuditKey.read(file)

    assert "s3cret" not in str(refused.value)
    assert "kkkk" not in repr(KEY)
