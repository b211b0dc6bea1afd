"""The same batch on a local Ray, against two Triton servers."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pytest
import ray
from batch_world import errors_of, rows_of, score_of, text_of
from ray.data.exceptions import SystemException
from ray.exceptions import NodeDiedError
from until import until

from megatick_client import Client
from megatick_client.batches import (
    Batches,
    BatchStopped,
    ScoringFailed,
    SettingError,
    on_ray,
    settings,
)
from megatick_client.batches.one_model import OneModel
from megatick_contract.tables import Block

if TYPE_CHECKING:
    from tests.client.conftest import StartTriton

pytestmark = [
    pytest.mark.triton,
    pytest.mark.filterwarnings("ignore"),  # Ray's own, of many kinds
]

ROWS = 10_000  # several of Ray's blocks


@pytest.fixture(scope="module")
def local_ray() -> Iterator[None]:
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def addresses(start_triton: StartTriton) -> tuple[str, ...]:
    models = ("sentiment", "sentiment_step")
    return tuple(start_triton(*models).endpoints.grpc for _ in range(2))


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "news.csv"
    lines = [f"{n},{text_of(n)}" for n in range(ROWS)]
    lines[5] = "5,sleep 2"  # the server does: later rows are done before it
    lines[1000] = "1000, "
    lines[2000] = "2000,a,b"
    path.write_text("id,text\n" + "\n".join(lines) + "\n")
    return path


@pytest.mark.usefixtures("local_ray")
def test_the_same_batch(source: Path, tmp_path: Path, addresses: tuple[str, ...]) -> None:
    with Client(addresses) as client:
        alone = client.batches.submit(source, output=tmp_path / "alone.jsonl")
        on_ray = client.batches.submit(source, output=tmp_path / "ray.jsonl", engine="ray")

    assert on_ray.state == "finished"
    assert (on_ray.rows, on_ray.scored) == (alone.rows, alone.scored) == (ROWS, ROWS - 2)
    assert on_ray.model_digest == alone.model_digest != ""
    rows = rows_of(tmp_path / "ray.jsonl")
    assert rows == rows_of(tmp_path / "alone.jsonl")
    assert rows[6]["score"] == pytest.approx(score_of(text_of(6)), abs=1e-6)
    assert errors_of(tmp_path / "ray.jsonl") == errors_of(tmp_path / "alone.jsonl")


@pytest.mark.usefixtures("local_ray")
def test_stopped_and_resumed(
    source: Path, tmp_path: Path, addresses: tuple[str, ...], dead_address: str
) -> None:
    output = tmp_path / "scores.parquet"
    with (
        Client(dead_address) as client,
        pytest.raises(BatchStopped, match="no server answered for"),
    ):
        client.batches.submit(source, output=output, engine="ray", patience_s=0)

    with Client(addresses) as client:
        assert client.batches.status(output).state == "stopped"
        client.batches.resume(output)

    good = [n for n in range(ROWS) if n not in (1000, 2000)]
    assert [int(row["id"]) for row in rows_of(output)] == good


@pytest.mark.usefixtures("local_ray")
def test_cancelled_while_an_actor_waits(
    source: Path, tmp_path: Path, dead_address: str
) -> None:
    output = tmp_path / "scores.parquet"
    ended: list[BatchStopped] = []

    def submit() -> None:
        with Client(dead_address) as client:
            try:
                client.batches.submit(source, output=output, engine="ray")
            except BatchStopped as error:
                ended.append(error)

    batch = threading.Thread(target=submit)
    batch.start()
    until((tmp_path / "scores.parquet.job" / "job.json").exists)
    time.sleep(1)  # by when an actor may wait; the batch must end in any case
    Batches.cancel(output)
    batch.join(300)

    assert [error.reason for error in ended] == ["it was cancelled."]
    assert Batches.status(output).state == "cancelled"


def test_without_ray(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(settings, "find_spec", lambda name: None)
    with Client() as client, pytest.raises(SettingError, match=r"megatick\[ray\]"):
        client.batches.submit(source, output=tmp_path / "a.jsonl", engine="ray")

    assert not list(tmp_path.glob("*.job"))


def test_what_ray_cannot_do(source: Path, tmp_path: Path) -> None:
    with Client() as client, pytest.raises(SettingError, match='expected engine "threads"'):
        client.batches.submit(
            source, output=tmp_path / "a.jsonl", engine="ray", dedupe=True
        )


def on_broken_ray(monkeypatch: pytest.MonkeyPatch, tables: Iterator[Any]) -> Iterator[Any]:
    """Score one row with a Ray that hands out these tables."""
    monkeypatch.setattr(on_ray, "_scored_tables", lambda *_: tables)
    block = Block(0, "news.csv", (2,), pa.table({"text": ["up +"]}))
    with Client() as client:
        yield from on_ray.score_on_ray(
            [block],
            client=client,
            sources=(),
            after=0,
            settings=settings.BatchSettings(engine="ray"),
            model=OneModel(),
            cancelled=lambda: False,
        )


@pytest.mark.parametrize(
    "error",
    [
        pytest.param(NodeDiedError("pages\nIts node is gone."), id="of-ray"),
        pytest.param(SystemException("pages\nIts node is gone."), id="of-ray-data"),
    ],
)
def test_an_error_of_ray_itself(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def failing(_: int) -> Any:
        raise error

    with pytest.raises(ScoringFailed, match=r"^Ray failed: .*Its node is gone\.$"):
        list(on_broken_ray(monkeypatch, map(failing, range(1))))


def test_a_ray_that_gives_too_few_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ScoringFailed, match="Ray gave 0 answers for 1 rows"):
        list(on_broken_ray(monkeypatch, iter(())))
