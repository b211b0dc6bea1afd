"""Batches on the real Triton, one of whose servers is killed under it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from batch_world import rows_of, score_of, text_of

from megatick_client import Client
from megatick_client.batches import BatchProgress, BatchStopped

if TYPE_CHECKING:
    from tests.client.conftest import StartTriton

pytestmark = pytest.mark.triton

ROWS = 5000
MODELS = ("sentiment", "sentiment_step")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "news.csv"
    path.write_text("text\n" + "".join(f"{text_of(n)}\n" for n in range(ROWS)))
    return path


def check_every_row_once(output: Path) -> None:
    rows = rows_of(output)
    assert [row["text"] for row in rows] == [text_of(n) for n in range(ROWS)]
    for row in rows:
        assert row["score"] == pytest.approx(score_of(row["text"]), abs=1e-6)


def test_one_of_two_servers_killed(
    start_triton: StartTriton, source: Path, tmp_path: Path
) -> None:
    stays, doomed = start_triton(*MODELS), start_triton(*MODELS)
    addresses = [stays.endpoints.grpc, doomed.endpoints.grpc]

    def report(progress: BatchProgress) -> None:
        if progress.rows > 1000 and doomed.running:
            doomed.kill()

    with Client(addresses) as client:
        status = client.batches.submit(
            source, output=tmp_path / "scores.parquet", report=report, in_flight=2
        )

    assert (status.state, status.refused) == ("finished", 0)
    check_every_row_once(tmp_path / "scores.parquet")


def test_the_only_server_killed_and_another_started(
    start_triton: StartTriton, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.parquet"
    doomed = start_triton(*MODELS)

    def report(progress: BatchProgress) -> None:
        if progress.rows > 1000 and doomed.running:
            doomed.kill()

    with (
        Client(doomed.endpoints.grpc) as client,
        pytest.raises(BatchStopped, match="no server answered"),
    ):
        client.batches.submit(
            source, output=output, report=report, in_flight=2, patience_s=1
        )
    with Client(start_triton(*MODELS).endpoints.grpc) as client:
        left = client.batches.status(output)
        client.batches.resume(output)

    assert 1000 < left.rows < ROWS
    check_every_row_once(output)
