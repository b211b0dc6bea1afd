"""Work that nobody waits for any more leaves the real scorer's queue uncomputed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from exported import Exported
from scrape import Scrape, scrape_when

from megatick_client import AsyncClient
from megatick_server.launcher import ServeOptions, TritonServer

pytestmark = pytest.mark.triton

CALLS = 450
TEXTS = ["profit rises as costs fall " * 12] * 64
"""As long as the network takes; so many calls keep one CPU busy for some ten seconds."""


@pytest.fixture
def server(exported: Exported) -> Iterator[TritonServer]:
    options = ServeOptions(grpc_port=0, metrics_port=0, cpus=1)
    with TritonServer(Path(exported.out), options) as server:
        yield server


def turned_away(got: Scrape, *reasons: str) -> float:
    """Requests; the scorer tells nothing before its first one."""
    labels = [frozenset({"model": "scorer", "reason": each}.items()) for each in reasons]
    return sum(got.values.get(("megatick_rejections_total", each), 0) for each in labels)


def test_cancelled_requests_leave_the_queue(server: TritonServer) -> None:
    """Of the step itself; Triton tells the steps of an ensemble of no cancellation."""
    text = triton.InferInput("TEXT", [len(TEXTS), 1], "BYTES")
    text.set_data_from_numpy(np.array([[each.encode()] for each in TEXTS], object))
    score = [triton.InferRequestedOutput("SCORE")]
    with triton.InferenceServerClient(server.endpoints.grpc) as raw:
        calls = [
            raw.async_infer("scorer", [text], lambda *answer: None, outputs=score)
            for _ in range(CALLS)
        ]
        time.sleep(0.5)
        for call in calls:
            call.cancel()

        got = scrape_when(
            str(server.endpoints.metrics),
            lambda got: (
                {"megatick_waiting_requests", "megatick_batch_rows_sum"} <= got.names
                and turned_away(got, "cancelled") > 0
                and got.total("megatick_waiting_requests", model="scorer") == 0
            ),
        )
    # Triton drops by itself what the step has not read yet: on a slow machine, the most.
    dropped = turned_away(got, "cancelled") * len(TEXTS)
    assert dropped > 2 * got.total("megatick_batch_rows_sum", model="scorer")


def test_a_client_that_left_costs_no_more_than_its_deadline(server: TritonServer) -> None:
    async def leave() -> None:
        async with AsyncClient(server.endpoints.grpc, timeout_s=1.5) as client:
            calls = [asyncio.create_task(client.score(TEXTS)) for _ in range(CALLS)]
            await asyncio.sleep(1)
            for call in calls:
                call.cancel()
            await asyncio.gather(*calls, return_exceptions=True)

    asyncio.run(leave())

    got = scrape_when(
        str(server.endpoints.metrics),
        lambda got: (
            {"megatick_waiting_requests", "megatick_batch_rows_sum"} <= got.names
            and turned_away(got, "expired", "too_late", "cancelled") > 0
            and got.total("megatick_waiting_requests", model="scorer") == 0
        ),
    )
    assert got.total("megatick_batch_rows_sum", model="scorer") < CALLS * len(TEXTS) / 2
