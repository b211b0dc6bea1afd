"""Replies wait for their record, or do not, as the policy says."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatick_server.audit import AuditError, AuditKey, verify_folder
from megatick_server.audit.chain import Chain
from megatick_server.audit.log import AuditLog
from megatick_server.audit.settings import AUDIT_VARIABLE, AuditSettings
from megatick_server.audit.writer import AuditWriter
from megatick_server.errors import RequestDropped
from megatick_server.meters import Meters

KEY = AuditKey(b"k" * 32)


class Told:
    """Waits for what a writer says of a reply."""

    def __init__(self) -> None:
        self.problems: list[Exception | None] = []
        self._event = threading.Event()

    def __call__(self, problem: Exception | None) -> None:
        self.problems.append(problem)
        self._event.set()

    def wait(self) -> Exception | None:
        assert self._event.wait(10)
        (problem,) = self.problems
        return problem


def begin(folder: Path, **options: Any) -> tuple[Chain, AuditWriter]:
    chain = Chain(folder, KEY, model="scorer", about={})
    usual = {"on_failure": "refuse", "sync_s": 0.0, "meters": Meters("scorer")}
    return chain, AuditWriter(chain, **{**usual, **options})


def counted(meters: Meters) -> dict[str, float]:
    """What the audit log's meters show, of the histogram its count."""
    return {
        " ".join(
            [series.name.removeprefix("megatick_audit_"), *dict(series.labels).values()]
        ): total
        for series, total in meters.totals().items()
        if series.name.startswith("megatick_audit")
        and "le" not in dict(series.labels)
        and not series.name.endswith("_sum")
    }


def records(folder: Path) -> list[dict[str, Any]]:
    (file,) = folder.glob("*.jsonl")
    return [json.loads(line) for line in file.read_bytes().splitlines()]


def test_a_reply_is_given_when_its_record_is_written(tmp_path: Path) -> None:
    _, writer = begin(tmp_path)
    told = Told()

    writer.record(lambda: {"kind": "reply", "value": 1}, told)

    assert told.wait() is None
    assert records(tmp_path)[-1]["value"] == 1  # written by now, without a close
    writer.close()
    assert [each["kind"] for each in records(tmp_path)] == ["genesis", "reply", "end"]


def fail(*_: Any) -> None:
    raise AuditError(None, "the disk is full")


def test_fail_closed_refuses_what_it_cannot_record(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters = Meters("scorer")
    chain, writer = begin(tmp_path, meters=meters)
    with monkeypatch.context() as full:
        full.setattr(chain, "append", fail)
        refused = Told()
        writer.record(lambda: {"kind": "reply"}, refused)
        assert str(refused.wait()) == "the disk is full"
    given = Told()
    writer.record(lambda: {"kind": "reply"}, given)

    assert given.wait() is None
    writer.close()
    assert [each["kind"] for each in records(tmp_path)] == ["genesis", "reply", "end"]
    assert counted(meters) == {
        "records_total scorer": 1,
        "lost_total scorer refused": 1,
        "waiting_records scorer": 0,
        "write_seconds_count scorer": 1,
    }


def test_fail_open_gives_it_and_counts_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    meters = Meters("scorer")
    chain, writer = begin(tmp_path, on_failure="reply", meters=meters)
    seen = threading.Event()

    def fail_and_tell(records: object) -> None:
        seen.set()
        fail()

    with monkeypatch.context() as full:
        full.setattr(chain, "append", fail_and_tell)
        told = Told()
        writer.record(lambda: {"kind": "reply"}, told)
        assert told.wait() is None
        assert seen.wait(10)
    making = threading.Event()

    def tell() -> dict[str, Any]:
        making.set()
        return {"kind": "reply"}

    writer.record(tell, Told())
    assert making.wait(10)
    writer.record(lambda: {"kind": "reply"}, Told())  # too late for the first's writing
    writer.close()

    kinds = [(each["kind"], each.get("count")) for each in records(tmp_path)]
    replies = [("reply", None)] * 2
    assert kinds == [("genesis", None), ("lost", 1), *replies, ("end", None)]
    (report,) = verify_folder(tmp_path, KEY)
    assert (report.lost, report.findings) == (1, ())
    assert counted(meters) == {
        "records_total scorer": 2,
        "lost_total scorer given": 1,  # the chain has told of it, and it stays lost
        "waiting_records scorer": 0,
        "write_seconds_count scorer": 2,  # the latter reply missed the former's writing
    }


@pytest.mark.parametrize(("on_failure", "given"), [("refuse", False), ("reply", True)])
def test_a_full_queue(tmp_path: Path, on_failure: str, given: bool) -> None:
    """The first record is being made, the second waits, and the third has no room."""
    meters = Meters("scorer")
    _, writer = begin(tmp_path, on_failure=on_failure, most_waiting=1, meters=meters)
    making, go_on = threading.Event(), threading.Event()

    def slowly() -> dict[str, Any]:
        making.set()
        assert go_on.wait(10)
        return {"kind": "reply"}

    writer.record(slowly, Told())
    assert making.wait(10)
    writer.record(lambda: {"kind": "reply"}, Told())
    told = Told()
    writer.record(lambda: {"kind": "reply"}, told)

    assert (told.wait() is None) == given
    assert counted(meters) == {
        "records_total scorer": 0,
        f"lost_total scorer {'given' if given else 'refused'}": 1,
        "waiting_records scorer": 2,
        "write_seconds_count scorer": 0,
    }
    go_on.set()
    writer.close()


def test_what_a_record_holds(tmp_path: Path) -> None:
    """Of the inputs their HMACs, of the outputs those of the wire; no text, no tokens."""
    _, writer = begin(tmp_path)
    log = AuditLog(writer, KEY, model_digest="d" * 64)
    text = np.array([[b"Acme sold secretly"]], object)
    answer = {
        "PROBABILITIES": np.array([[0.25, 0.25, 0.5]], np.float32),
        "input_ids": np.array([[11, 12]], np.int32),
        "EMBEDDING": np.array([[1.0]], np.float32),
    }
    given, refused = Told(), Told()

    log.record("id-1", {"TEXT": text}, {"truncation": "tail", "x": "y"}, answer, given)
    log.record("", {"TEXT": text}, {}, RequestDropped("queue_full", "secretly"), refused)

    assert given.wait() is None
    assert refused.wait() is None
    writer.close()
    _, reply, refusal, _ = records(tmp_path)
    assert reply["outputs"] == {
        "PROBABILITIES": [[0.25, 0.25, 0.5]],
        # printf '\0\0\x80\x3f' | sha256sum
        "EMBEDDING_SHA256": [
            "e00e5eb9444182f352323374ef4e08ebcb784725fdd4fd612d7730540b3e0c8c"
        ],
    }
    assert reply["inputs"] == {"TEXT": [KEY.of_input("TEXT", text[0])]}
    assert (reply["request_id"], reply["truncation"]) == ("id-1", "tail")
    assert reply["model_digest"] == "d" * 64
    assert "input_ids" not in reply
    assert refusal["refused"] == "queue_full"
    assert "secretly" not in json.dumps([reply, refusal])


def test_settings_travel_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    settings = AuditSettings(Path("log"), Path("key"), "reply", 0.5)
    monkeypatch.setenv(AUDIT_VARIABLE, settings.variable)

    assert AuditSettings.of_environment() == AuditSettings(
        tmp_path / "log", tmp_path / "key", "reply", 0.5
    )
    monkeypatch.setenv(AUDIT_VARIABLE, "")
    assert AuditSettings.of_environment() is None
