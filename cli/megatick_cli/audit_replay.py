"""Recorded replies beside what a server answers to the same texts now."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from megatick_client import Client, Sentiment
    from megatick_server.audit import AuditKey

_TOGETHER: Final = 256  # rows a call


@dataclass(frozen=True)
class Compared:
    """One row of a record, and the same now.

    Attributes:
        where: the request's id, and its record's time, UTC.
        row: of the request.
        output: the tensor compared.
        recorded: its values then.
        now: its values now.
    """

    where: str
    row: int
    output: str
    recorded: tuple[float, ...]
    now: tuple[float, ...]

    @property
    def difference(self) -> float:
        """The largest of any value."""
        return max(abs(a - b) for a, b in zip(self.recorded, self.now, strict=True))


@dataclass(frozen=True)
class Replayed:
    """What a replay found.

    Attributes:
        compared: rows whose text was there.
        unmatched: rows whose text was not.
        digest: SHA-256 of what answers now, in hex; empty if nothing was asked.
        other_digests: of what answered then, where it is another.
    """

    compared: tuple[Compared, ...]
    unmatched: int
    digest: str
    other_digests: frozenset[str]


@dataclass(frozen=True)
class _Row:
    record: dict[str, Any]
    row: int
    text: str

    @property
    def output(self) -> str:
        """Probabilities, where the reply had them; else the score."""
        outputs = self.record["outputs"]
        return "PROBABILITIES" if "PROBABILITIES" in outputs else "SCORE"


def replay_records(
    records: Iterable[dict[str, Any]],
    texts: Sequence[str],
    key: AuditKey,
    client: Client,
) -> Replayed:
    """Score the texts of records again.

    Args:
        records: of an audit log; those without a text or a score are passed over.
        texts: among which theirs are looked for.
        key: what the log was written with.
        client: of the server that answers now.
    """
    records = list(records)
    # Behind a TensorRT engine one step saw the text and another gave the scores.
    asked_as = {
        record["request_id"]: record["inputs"]
        for record in records
        if record.get("inputs") and record["request_id"]
    }
    known = {key.of_input("TEXT", np.array([t.encode()], object)): t for t in texts}
    rows, unmatched, digests = [], 0, set()
    for record in records:
        outputs = record.get("outputs", {})
        if not outputs.keys() & {"PROBABILITIES", "SCORE"}:
            continue
        inputs = record["inputs"] or asked_as.get(record["request_id"], {})
        for row, name in enumerate(inputs.get("TEXT", ())):
            if name in known:
                rows.append(_Row(record, row, known[name]))
                digests.add(record["model_digest"])
            else:
                unmatched += 1
    compared: list[Compared] = []
    digest = ""
    rows.sort(key=lambda row: row.record["truncation"])
    for truncation, group in itertools.groupby(rows, lambda row: row.record["truncation"]):
        for some in _batches(list(group)):
            asked = [row.text for row in some]
            answers = client.score(
                asked, truncation=truncation, priority="backfill", timings=True
            )
            digest = answers[0].reply.model_digest
            compared += map(_compared, some, answers)
    return Replayed(tuple(compared), unmatched, digest, frozenset(digests - {digest}))


def _batches(rows: Sequence[_Row]) -> Iterator[Sequence[_Row]]:
    for start in range(0, len(rows), _TOGETHER):
        yield rows[start : start + _TOGETHER]


def _compared(row: _Row, answer: Sentiment) -> Compared:
    now = {
        "PROBABILITIES": astuple(answer.probabilities),
        "SCORE": (answer.score,),
    }[row.output]
    seconds = np.datetime64(row.record["time_ns"], "ns")
    return Compared(
        f"request {row.record['request_id'] or '(unnamed)'} of {seconds}Z",
        row.row,
        row.output,
        tuple(row.record["outputs"][row.output][row.row]),
        now,
    )
