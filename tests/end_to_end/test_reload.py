"""Another export takes over from the one that is served, as a trading system sees it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from exported import Exported
from scrape import scrape_when
from tiny import GPT2, write_tiny

from megatick_client import Client
from megatick_export import ExportOptions, export_repository
from megatick_server.audit import AuditKey, AuditSettings, verify_folder
from megatick_server.launcher import ServeOptions, TritonServer

pytestmark = pytest.mark.triton

TEXT = "Profit doubled"
PRICES = [100.0, 101.0, 99.5]


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A GPT-2 with an embedding, where ``exported`` is a Llama without."""
    folder = tmp_path_factory.mktemp("other")
    options = ExportOptions(precision="fp32", embedding=True)
    checkpoint = write_tiny(folder / "checkpoint", GPT2)
    export_repository(checkpoint, folder / "out", options=options)
    return folder / "out"


def test_one_client_asks_one_model_then_the_other(
    exported: Exported, other: Path, tmp_path: Path
) -> None:
    """Its connection stays, and so do the counters; the audit log begins a new chain."""
    current, key_file, log = tmp_path / "current", tmp_path / "key", tmp_path / "log"
    shutil.copytree(exported.out, current)
    key_file.write_text("0123456789abcdef" * 4 + "\n")
    options = ServeOptions(
        grpc_port=0, metrics_port=0, audit=AuditSettings(log, key_file), cached_texts=8
    )
    with (
        TritonServer(current, options) as server,
        Client(server.endpoints.grpc, timeout_s=60) as client,
    ):
        before = client.market_view(TEXT, PRICES, timings=True)
        shutil.rmtree(current)
        shutil.copytree(other, current)
        again = client.market_view(TEXT, PRICES, timings=True)
        server.reload()
        after = client.market_view(TEXT, PRICES, timings=True)
        embedded = client.embed(TEXT)
        # The second text of the first model was in its cache.
        scrape_when(
            str(server.endpoints.metrics),
            lambda got: (
                "megatick_batch_rows_sum" in got.names
                and got.total("megatick_batch_rows_sum", model="scorer") == 3
            ),
        )

    assert before.sentiment.reply.model_digest == again.sentiment.reply.model_digest
    assert before.sentiment.score == again.sentiment.score
    assert after.sentiment.reply.model_digest != before.sentiment.reply.model_digest
    assert after.sentiment.score != before.sentiment.score
    assert len(embedded.values) == GPT2.hidden_size
    reports = verify_folder(log, AuditKey.read(key_file))
    assert all(report.ended and not report.findings for report in reports)
    # Each of two models that log, before and after.
    assert len(reports) == 4
