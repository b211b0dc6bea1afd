"""Batches that are killed, cancelled, or left without a server, and then resumed."""

from __future__ import annotations

import errno
import fcntl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from batch_world import Troubled, errors_of, rows_of, score_of, text_of
from endpoint import Arrays, serve
from full_disk import files_of_at_most
from until import until

from megatick_client import Client, Retries
from megatick_client.batches import BatchStopped, JobError, SourceError, running
from megatick_client.batches import job as job_module
from megatick_client.batches.job import Job, JobFolder
from megatick_client.batches.sources import check_unchanged
from megatick_contract.tables import Source

ROWS = 3000

SUBMIT = """
import sys
from megatick_client import Client
from megatick_client.batches import parts
parts.PART_ROWS = 512
with Client(sys.argv[1]) as client:
    client.batches.submit(sys.argv[2], output=sys.argv[3], in_flight=4)
"""


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """ROWS rows: each hundredth is blank, each thousandth has a comma too many."""
    path = tmp_path / "news.csv"
    lines = [f"{n},{text_of(n)}" for n in range(ROWS)]
    lines[::100] = [f"{n}, " for n in range(0, ROWS, 100)]
    lines[50::1000] = [f"{n},a,b" for n in range(50, ROWS, 1000)]
    path.write_text("id,text\n" + "\n".join(lines) + "\n")
    return path


def check_every_row_once(output: Path) -> None:
    good = [n for n in range(ROWS) if n % 100 and n % 1000 != 50]
    rows = rows_of(output)
    assert [int(row["id"]) for row in rows] == good
    assert [row["text"] for row in rows] == [text_of(n) for n in good]
    for row in rows:
        assert row["score"] == pytest.approx(score_of(row["text"]), abs=1e-6)
    bad = [n for n in range(ROWS) if not (n % 100 and n % 1000 != 50)]
    assert [error["row"] for error in errors_of(output)] == bad


@pytest.mark.parametrize("parts", [0, 1, 3])
def test_sigkill_then_resume(
    client: Client, endpoint: Troubled, source: Path, tmp_path: Path, parts: int
) -> None:
    output = tmp_path / "scores.parquet"
    endpoint.halt_at = 512 * parts + 300
    command = [sys.executable, "-c", SUBMIT, endpoint.address, str(source), str(output)]
    process = subprocess.Popen(command)
    done = tmp_path / "scores.parquet.job" / "parts"
    until(lambda: len(list(done.glob("0*.parquet"))) >= parts and endpoint.halted)
    assert client.batches.status(output).state == "running"
    with pytest.raises(JobError, match="another process runs this batch"):
        client.batches.resume(output)
    process.kill()
    process.wait()

    assert not output.exists()
    left = client.batches.status(output)
    endpoint.halt_at = None
    before = endpoint.seen.total()
    status = client.batches.resume(output)

    assert left.state == "interrupted"
    assert parts * 512 <= left.rows < ROWS
    assert (status.state, status.rows) == ("finished", ROWS)
    check_every_row_once(output)
    in_flight = 4 * 32  # of the killed process, answered after ``before``
    assert endpoint.seen.total() - before <= status.scored - left.scored + in_flight


@pytest.mark.parametrize("moment", ["write_output", "save"])
def test_killed_while_the_parts_are_put_together(
    client: Client,
    source: Path,
    tmp_path: Path,
    moment: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Before the output is there, and when it is there but the job does not know."""
    from megatick_client.batches import job, running

    class Killed(BaseException):
        pass

    def killed(*_: object, **__: object) -> None:
        raise Killed

    output = tmp_path / "scores.jsonl"
    with monkeypatch.context() as patch:
        if moment == "write_output":
            patch.setattr(running, "write_output", killed)
        else:
            save = job.JobFolder.save
            patch.setattr(
                job.JobFolder,
                "save",
                lambda self, job: killed() if job.end == "finished" else save(self, job),
            )
        with pytest.raises(Killed):
            client.batches.submit(source, output=output)

    assert client.batches.resume(output).state == "finished"
    check_every_row_once(output)
    assert client.batches.resume(output).state == "finished"  # nothing is left to do
    check_every_row_once(output)


def test_a_server_killed_and_started_again(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.parquet"
    first = Troubled(halt_at=500)
    with serve(first):
        port = int(first.address.rpartition(":")[2])
        client = Client(first.address, retries=Retries(first_wait_s=0.001))
        ended: list[object] = []
        batch = threading.Thread(
            target=lambda: ended.append(client.batches.submit(source, output=output))
        )
        batch.start()
        until(lambda: first.halted)
    time.sleep(0.3)
    assert batch.is_alive()
    with serve(Troubled(), port=port):
        batch.join(60)

    assert ended
    check_every_row_once(output)
    client.close()


def test_a_server_that_stays_away(
    client: Client, endpoint: Troubled, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.parquet"
    endpoint.refuse = range(60, 10**6)  # the first 256 rows take 9 calls of 8 at once

    with pytest.raises(BatchStopped, match="no server answered for") as caught:
        client.batches.submit(source, output=output, patience_s=0.3)

    status = client.batches.status(output)
    assert status.state == "stopped"
    assert caught.value.reason == status.reason
    assert 0 < status.rows < ROWS
    endpoint.refuse = range(0)
    client.batches.resume(output)
    check_every_row_once(output)


@pytest.mark.parametrize("waits", [False, True], ids=["at-work", "waits-for-a-server"])
def test_cancel_then_resume(
    client: Client, endpoint: Troubled, source: Path, tmp_path: Path, waits: bool
) -> None:
    output = tmp_path / "scores.parquet"
    endpoint.refuse = range(60, 10**6) if waits else range(0)
    endpoint.halt_at = None if waits else 1000
    ended: list[BatchStopped] = []

    def submit() -> None:
        try:
            client.batches.submit(source, output=output)
        except BatchStopped as error:
            ended.append(error)

    batch = threading.Thread(target=submit)
    batch.start()
    until(lambda: len(endpoint.requests) > 68 if waits else endpoint.halted)
    client.batches.cancel(output)
    endpoint.halt_at = None
    batch.join(60)

    assert [error.reason for error in ended] == ["it was cancelled."]
    status = client.batches.status(output)
    assert status.state == "cancelled"
    assert 0 < status.rows < ROWS
    endpoint.refuse = range(0)
    client.batches.resume(output)
    check_every_row_once(output)
    with pytest.raises(JobError, match="is finished"):
        client.batches.cancel(output)


def test_another_model_behind_the_address(
    client: Client, endpoint: Troubled, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.parquet"
    answers = endpoint.answers

    def another_later(texts: list[str]) -> Arrays:
        if len(endpoint.requests) > 20:
            endpoint.digest = "e2" * 32
        return answers(texts)

    endpoint.answers = another_later  # type: ignore[method-assign]
    with pytest.raises(
        BatchStopped, match=r"model e2e2e2e2e2e2…, the batch began with d1d1"
    ):
        client.batches.submit(source, output=output)
    with pytest.raises(BatchStopped, match="the batch began with"):
        client.batches.resume(output)

    endpoint.answers = answers  # type: ignore[method-assign]
    endpoint.digest = "d1" * 32
    client.batches.resume(output)
    check_every_row_once(output)


def test_an_input_that_changed(
    client: Client, endpoint: Troubled, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.parquet"
    endpoint.refuse = range(10, 10**6)
    with pytest.raises(BatchStopped):
        client.batches.submit(source, output=output, patience_s=0)
    endpoint.refuse = range(0)
    kept = source.read_text()

    source.write_text(kept.replace("headline 2999", "headlike 2999"))
    with pytest.raises(SourceError, match="has changed since the batch began"):
        client.batches.resume(output)
    source.unlink()
    with pytest.raises(SourceError, match="and is gone"):
        client.batches.resume(output)

    source.write_text(kept)
    client.batches.resume(output)
    check_every_row_once(output)


def test_a_text_on_which_the_server_fails(
    client: Client, endpoint: Troubled, tmp_path: Path
) -> None:
    source = tmp_path / "news.jsonl"
    texts = [text_of(n) for n in range(64)]
    texts[20] = "crash"
    source.write_text("".join(f'{{"text": "{text}"}}\n' for text in texts))
    output = tmp_path / "scores.jsonl"

    status = client.batches.submit(source, output=output)

    assert status.refused == 1
    assert errors_of(output)[0]["row"] == 20
    assert errors_of(output)[0]["problem"] == "the server failed on it: told to crash"
    assert [row["text"] for row in rows_of(output)] == [t for t in texts if t != "crash"]


def test_a_server_that_fails_on_everything_is_no_fault_of_the_rows(
    client: Client, endpoint: Troubled, source: Path, tmp_path: Path
) -> None:
    endpoint.out_of_order = True

    with pytest.raises(BatchStopped, match="told to crash"):
        client.batches.submit(source, output=tmp_path / "a.parquet", patience_s=0.5)

    assert client.batches.status(tmp_path / "a.parquet").rows == 0


@pytest.mark.parametrize("dedupe", [False, True], ids=["parts", "answers"])
def test_a_full_disk_stops_it_and_is_the_reason(
    client: Client, source: Path, tmp_path: Path, dedupe: bool
) -> None:
    output = tmp_path / "scores.parquet"

    # Enough for job.json, and neither for a part nor for the answers by their texts.
    with files_of_at_most(4096), pytest.raises(BatchStopped) as caught:
        client.batches.submit(source, output=output, dedupe=dedupe)

    status = client.batches.status(output)
    assert (status.state, status.rows) == ("stopped", caught.value.rows)
    assert status.reason == caught.value.reason
    assert f"Is the disk of {output}.job full?" in status.reason
    client.batches.resume(output)
    check_every_row_once(output)


def test_a_server_that_refuses_the_client_is_no_full_disk(
    client: Client, endpoint: Troubled, source: Path, tmp_path: Path
) -> None:
    """Its error is a PermissionError, too, and so an OSError."""

    def refuse(texts: list[str], context: Any) -> None:
        context.abort(grpc.StatusCode.UNAUTHENTICATED, "told to refuse")

    endpoint.check = refuse  # type: ignore[method-assign]
    with pytest.raises(BatchStopped, match="told to refuse") as caught:
        client.batches.submit(source, output=tmp_path / "scores.parquet")

    assert "disk" not in caught.value.reason


def test_a_disk_that_is_full_when_the_parts_are_put_together(
    client: Client, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    output = tmp_path / "scores.parquet"
    with monkeypatch.context() as patch:
        patch.setattr(running, "write_output", full)
        with pytest.raises(BatchStopped, match=r"after 3,000 rows: .*No space left"):
            client.batches.submit(source, output=output)

    assert "No space left" in client.batches.status(output).reason
    client.batches.resume(output)
    check_every_row_once(output)


def test_a_finished_batch_whose_output_is_gone(
    client: Client, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.parquet"
    client.batches.submit(source, output=output)
    output.unlink()

    with pytest.raises(JobError, match=f"its output {output} is gone"):
        client.batches.resume(output)


def test_a_cancel_while_the_input_is_compared(
    client: Client,
    endpoint: Troubled,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "scores.parquet"
    endpoint.refuse = range(10**6)
    with pytest.raises(BatchStopped):
        client.batches.submit(source, output=output, patience_s=0)
    endpoint.refuse = range(0)

    def cancelled_meanwhile(source: Source) -> None:
        client.batches.cancel(output)
        check_unchanged(source)

    with monkeypatch.context() as patch:
        patch.setattr(running, "check_unchanged", cancelled_meanwhile)
        with pytest.raises(BatchStopped, match="it was cancelled"):
            client.batches.resume(output)

    assert client.batches.status(output).state == "cancelled"
    client.batches.resume(output)  # what cancelled the run before does not cancel this one
    check_every_row_once(output)


def test_a_cancel_as_the_batch_finishes(
    client: Client,
    endpoint: Troubled,
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It ends between the canceller's first look and its last one."""
    output = tmp_path / "scores.parquet"
    endpoint.refuse = range(10**6)
    with pytest.raises(BatchStopped):
        client.batches.submit(source, output=output, patience_s=0)
    endpoint.refuse = range(0)
    load = JobFolder.load

    def load_and_let_it_finish(self: JobFolder) -> Job:
        job = load(self)
        monkeypatch.setattr(JobFolder, "load", load)
        client.batches.resume(output)
        return job

    monkeypatch.setattr(JobFolder, "load", load_and_let_it_finish)
    with pytest.raises(JobError, match="is finished"):
        client.batches.cancel(output)

    status = client.batches.status(output)
    assert (status.state, status.rows) == ("finished", ROWS)
    assert not (tmp_path / "scores.parquet.job" / "cancel").exists()


def test_looking_at_a_job_does_not_keep_it_from_starting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(job_module, "_A_LOOK_S", 30)  # a busy machine's timer may be late
    folder = JobFolder(tmp_path)
    with folder.lock():
        pass
    with (tmp_path / "lock").open() as looking:
        fcntl.flock(looking, fcntl.LOCK_SH)
        assert not folder.runs()  # two may look at a time, and neither is a run
        threading.Timer(0.1, fcntl.flock, (looking, fcntl.LOCK_UN)).start()
        with folder.lock():
            assert folder.runs()


def test_a_status_while_the_batch_finishes(
    client: Client, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts are gone once they were listed."""
    output = tmp_path / "scores.parquet"
    running_job: list[Job] = []
    finish = running._finish

    def noted(folder: JobFolder, job: Job) -> Job:
        running_job.append(job)
        return finish(folder, job)

    monkeypatch.setattr(running, "_finish", noted)
    finished = client.batches.submit(source, output=output)
    load = JobFolder.load

    def load_too_early(self: JobFolder) -> Job:
        monkeypatch.setattr(JobFolder, "load", load)
        return running_job[0]

    monkeypatch.setattr(JobFolder, "load", load_too_early)
    assert client.batches.status(output) == finished


def test_a_damaged_job_does_not_hide_the_others(
    client: Client, endpoint: Troubled, source: Path, tmp_path: Path
) -> None:
    client.batches.submit(source, output=tmp_path / "c.parquet")
    endpoint.refuse = range(10**6)
    with pytest.raises(BatchStopped):
        client.batches.submit(source, output=tmp_path / "b.parquet", patience_s=0)
    part = tmp_path / "b.parquet.job" / "parts" / f"{0:012}-{9:012}.parquet"
    part.write_text("no Parquet")
    (tmp_path / "a.parquet.job").mkdir()
    (tmp_path / "a.parquet.job" / "job.json").write_text("{}")

    listed = client.batches.list(tmp_path)

    assert [(each.output.name, each.state) for each in listed] == [
        ("a.parquet", "unreadable"),
        ("b.parquet", "unreadable"),
        ("c.parquet", "finished"),
    ]
    assert "no job of this release" in listed[0].reason
    assert "its parts cannot be read" in listed[1].reason
