"""The real Triton records what it answers: what became of the record and of the answers."""

from __future__ import annotations

import json
import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from exported import Exported
from scrape import scrape_when
from typer.testing import CliRunner

from megatick_cli import app as command
from megatick_client import BadRequest, Client, SentimentState, ServerError
from megatick_server.audit import AuditKey, AuditSettings, read_records, verify_folder
from megatick_server.launcher import ServeOptions, TritonServer
from megatick_server.launcher.diagnosis import worth_showing

pytestmark = pytest.mark.triton

TEXTS = ["Profit doubled", "Plant closes", "Zürich: neue Aufträge"]
PRICES = [100.0, 101.0, 99.5]
CLOSES = [float(7 + number % 5) for number in range(70)]  # six more than are sent
KEPT = SentimentState(score_sum=-0.3, weight=1.7, last_score=0.1, texts=3)


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    file = tmp_path / "audit.key"
    file.write_text("0123456789abcdef" * 4 + "\n")
    return file


@contextmanager
def audited(
    exported: Exported, folder: Path, key_file: Path, *, metrics_port: int | None = None
) -> Iterator[TritonServer]:
    options = ServeOptions(
        grpc_port=0, metrics_port=metrics_port, audit=AuditSettings(folder, key_file)
    )
    with TritonServer(exported.out, options) as server:
        yield server


def run(*arguments: str | Path) -> tuple[int, str]:
    """``megatick audit …``; its status, and what it printed in one line."""
    result = CliRunner().invoke(command.app, ["audit", *map(str, arguments)])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, " ".join(result.stdout.split())


def test_recorded_killed_verified_edited_and_replayed(
    exported: Exported, tmp_path: Path, key_file: Path
) -> None:
    folder = tmp_path / "log"
    with audited(exported, folder, key_file) as server:
        with Client(server.endpoints.grpc, timeout_s=60) as client:
            scored = client.score(TEXTS)
            client.forecast(PRICES)
            view = client.market_view(TEXTS[0], PRICES)
            state = view.next_sentiment_state
            client.market_view(TEXTS[1], PRICES, sentiment_state=state, elapsed_s=60.5)
            client.forecast([PRICES, CLOSES], sentiment_state=[KEPT, state], elapsed_s=9)
            with pytest.raises(BadRequest):
                client.score(" ")
        os.kill(server.pid, signal.SIGKILL)

    key = AuditKey.read(key_file)
    assert [report.findings for report in verify_folder(folder, key)] == [(), ()]
    replies = [each for each in read_records(folder) if each["kind"] == "reply"]
    (text_only,) = (each for each in replies if len(each["inputs"].get("TEXT", ())) == 3)
    found = [p.__dict__ for p in (row.probabilities for row in scored)]
    assert text_only["outputs"]["PROBABILITIES"] == [list(each.values()) for each in found]
    assert text_only["request_id"] == scored[0].reply.request_id
    whole, _ = (each for each in replies if {"PRICES", "TEXT"} <= set(each["inputs"]))
    assert whole["outputs"]["SCORE"] == [[view.sentiment.score]]
    prices, _ = (each for each in replies if "TEXT" not in each["inputs"])
    assert prices["inputs"]["PRICES"] == whole["inputs"]["PRICES"]
    assert sorted(each.get("refused", "") for each in replies) == [*[""] * 5, "invalid"]
    for file in folder.iterdir():
        assert "Profit" not in file.read_text()
        assert "0123456789abcdef" not in file.read_text()

    status, said = run("verify", folder, "--key-file", key_file)
    assert status == 0, said
    assert "has no end" in said
    kept = [line.split()[0] for line in run("head", folder)[1].split(" records")[:-1]]
    assert run("verify", folder, *(w for h in kept for w in ("--head", h)))[0] == 0

    asked = tmp_path / "asked.jsonl"  # the second view's state is in the log itself
    rows = [
        {"text": TEXTS[0], "prices": PRICES, "elapsed_s": 60.5},
        {
            "text": TEXTS[1],
            "prices": CLOSES,
            "elapsed_s": 9,
            "sentiment_state": KEPT.__dict__,
        },
        {"text": TEXTS[2]},
    ]
    asked.write_text("\n".join(json.dumps(row) for row in rows))
    replayed = ("replay", folder, "--inputs", asked, "--key-file", key_file)
    status, said = run(*replayed, "--repository", exported.out, "--tolerance", "1e-5")
    assert status == 0, said
    assert "5 scores compared, 0 differ by more than 1e-05 (given)" in said
    assert "2 states compared, 0 differ by more than 1e-06" in said
    assert "5 forecasts compared, 0 differ by more than 1e-06" in said
    assert said.count("; 0 have no") == 3

    file = max(folder.iterdir(), key=lambda path: path.stat().st_size)
    lines = file.read_bytes().splitlines(keepends=True)
    at = next(n for n, line in enumerate(lines) if b"PROBABILITIES" in line)
    lines[at] = lines[at].replace(b'"TOKENS":[[', b'"TOKENS":[[9', 1)
    file.write_bytes(b"".join(lines))
    status, said = run("verify", folder)
    assert status == 1
    assert f"{file.name}, line {at + 1}: was edited" in said
    file.write_bytes(b"".join(lines[:-1]))
    assert run("verify", folder, "--head", kept[0], "--head", kept[1])[0] == 1


def test_a_full_disk_refuses_and_is_told_and_a_stop_ends_the_chains(
    exported: Exported, tmp_path: Path, key_file: Path
) -> None:
    scorer = ("model", "scorer")
    recorded = ("megatick_audit_records_total", frozenset({scorer}))
    lost = ("megatick_audit_lost_total", frozenset({scorer, ("reply", "refused")}))
    folder = tmp_path / "log"
    with (
        audited(exported, folder, key_file, metrics_port=0) as server,
        Client(server.endpoints.grpc, timeout_s=60) as client,
    ):
        with full_disk(server, folder), pytest.raises(ServerError, match="audit log"):
            client.score(TEXTS)
        client.score(TEXTS)
        scrape_when(
            str(server.endpoints.metrics),
            lambda got: got.values.get(recorded) == got.values.get(lost) == 1,
        )
        shown = "\n".join(line for line in server.log if worth_showing(line))
        assert "scorer] the audit log fails" in shown
        assert "the audit log cannot be written: File too large" in shown
        assert "scorer] the audit log is written again" in shown

    reports = verify_folder(folder)
    assert all(report.ended and not report.findings for report in reports)


@contextmanager
def full_disk(server: TritonServer, folder: Path) -> Iterator[None]:
    """Let the scorer's file of records grow no further."""
    (step,) = (
        process
        for process in psutil.Process(server.pid).children(recursive=True)
        if any("/scorer/" in argument for argument in process.cmdline())
    )
    (file,) = folder.glob("scorer-*")
    before = resource.prlimit(step.pid, resource.RLIMIT_FSIZE)
    limit = (file.stat().st_size, before[1])
    resource.prlimit(step.pid, resource.RLIMIT_FSIZE, limit)
    try:
        yield
    finally:
        resource.prlimit(step.pid, resource.RLIMIT_FSIZE, before)
