"""Whether the lines of an audit log are those that were written, all of them, in order."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from megatick_server.audit.chain import SUFFIX
from megatick_server.audit.record import GENESIS_HASH, AuditKey, Record, hash_of, parse
from megatick_server.errors import AuditError

_SEGMENT: Final = re.compile(rf"(?P<chain>.+)\.(?P<number>\d{{6}}){re.escape(SUFFIX)}")


@dataclass(frozen=True)
class Finding:
    """Something that is not as it was written.

    Attributes:
        file: in which segment.
        line: from 1.
        problem: what.
    """

    file: Path
    line: int
    problem: str


@dataclass(frozen=True)
class ChainReport:
    """What became of one chain.

    Attributes:
        chain: its name.
        records: lines that are whole records.
        lost: replies that were given without a record, as the chain itself says.
        head: the hash of its last record; empty where there is none.
        ended: it ends with the record of an orderly stop.
        torn: where its last line breaks off, as a kill in the middle of a write leaves it.
        findings: what cannot be explained so.
        hashes: of all its records.
    """

    chain: str
    records: int
    lost: int
    head: str
    ended: bool
    torn: Finding | None
    findings: tuple[Finding, ...]
    hashes: frozenset[str]


def chains_of(folder: Path) -> dict[str, list[Path]]:
    """The segments of each chain in a folder, in their order.

    Raises:
        AuditError: the folder holds no chain.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        if named := _SEGMENT.fullmatch(path.name):
            found.setdefault(named["chain"], []).append(path)
    if not found:
        raise AuditError(folder, "expected files of an audit log, found none")
    return found


def verify_folder(folder: Path, key: AuditKey | None = None) -> list[ChainReport]:
    """Check every chain of a folder.

    Args:
        folder: what ``megatick serve --audit`` wrote.
        key: the one that it was written with; without it, whoever rewrote a whole chain
            from some line on is not found out.

    Raises:
        AuditError: the folder holds no chain.
    """
    return [_check(*each, key) for each in chains_of(folder).items()]


def read_records(folder: Path) -> Iterator[Record]:
    """The records of every chain, whatever a check would find."""
    for files in chains_of(folder).values():
        for file in files:
            for _, line in _lines(file):
                if (record := parse(line.rstrip(b"\n"))) is not None:
                    yield record


def _check(chain: str, files: Sequence[Path], key: AuditKey | None) -> ChainReport:
    due, previous, lost, ended = 0, GENESIS_HASH, 0, False
    hashes: dict[str, None] = {}
    findings: list[Finding] = []
    torn = None
    segment = 0
    for file in files:
        segment += 1
        if (number := _number(file)) != segment:
            findings.append(Finding(file, 1, f"segment {segment} is missing before it"))
            segment = number
        for line, raw in _lines(file):
            record = parse(raw.removesuffix(b"\n"))
            if not raw.endswith(b"\n") and record is None:
                torn = Finding(file, line, "breaks off")
                continue
            if record is None:
                findings.append(Finding(file, line, "is no record: it was edited"))
                due, previous = due + 1, ""
                continue
            if problem := _problem(record, due, previous, key):
                findings.append(Finding(file, line, problem))
            genuine = hash_of(record) == record["hash"]
            if genuine and record["seq"] < due:
                continue  # it stands out of order: the next one goes on from before it
            due = record["seq"] + 1 if genuine else due + 1
            previous = record["hash"]
            hashes[previous] = None
            lost += record["count"] if genuine and record["kind"] == "lost" else 0
            ended = genuine and record["kind"] == "end"
    head = next(reversed(hashes), "")
    return ChainReport(
        chain, len(hashes), lost, head, ended, torn, tuple(findings), frozenset(hashes)
    )


def _problem(record: Record, due: int, previous: str, key: AuditKey | None) -> str:
    """What is wrong with a record at this place; empty if nothing is."""
    seq = record["seq"]
    if hash_of(record) != record["hash"]:
        return "was edited: its hash is not that of what it holds"
    if key is not None and key.seal(record["hash"]) != record["seal"]:
        return "was not sealed with this key: it was replaced, or the key is another"
    if seq > due:
        return f"is record {seq}: {seq - due} before it are missing"
    if seq < due:
        return f"is record {seq}, where {due} is due: it was moved or repeated"
    if previous and record["previous"] != previous:
        return "does not follow the line before it: that one was replaced"
    return ""


def _number(file: Path) -> int:
    """Of a segment, from 1."""
    return int(file.name.removesuffix(SUFFIX).rpartition(".")[2])


def _lines(file: Path) -> Iterator[tuple[int, bytes]]:
    try:
        with file.open("rb") as lines:
            yield from enumerate(lines, start=1)
    except OSError as error:
        raise AuditError(file, f"cannot be read: {error.strerror}") from error
