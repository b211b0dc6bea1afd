"""Calls of the SDK that leave when they are due, whatever became of those before.

A call's latency counts from when it was due, so that a standstill is in the figures of
everybody who would have called meanwhile.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

from megatick_client.errors import ClientError
from megatick_client.sentiments import Sentiment


@dataclass(frozen=True)
class Called:
    """What became of a call.

    Attributes:
        due_s: on the clock of ``time.perf_counter``.
        took_s: from then to its answer or failure.
        address: of the server that answered; empty for a failure.
        error: class of the failure; empty for an answer.
    """

    due_s: float
    took_s: float
    address: str
    error: str = ""


def offer_by_threads(
    call: Callable[[], Sentiment],
    due_s: Iterable[float],
    called: list[Called],
    *,
    threads: int,
) -> None:
    """Make calls that block, adding to ``called`` what became of each as it ends."""

    def one(due: float) -> None:
        try:
            address, error = call().reply.address, ""
        except ClientError as failure:
            address, error = "", type(failure).__name__
        called.append(Called(due, time.perf_counter() - due, address, error))

    with ThreadPoolExecutor(threads) as pool:
        made = []
        for due in due_s:
            time.sleep(max(0.0, due - time.perf_counter()))
            made.append(pool.submit(one, due))
    for each in made:
        each.result()  # raises what is no ClientError


async def offer(
    call: Callable[[], Awaitable[Sentiment]], due_s: Iterable[float], called: list[Called]
) -> None:
    """Make calls that are awaited, adding to ``called`` what became of each as it ends."""

    async def one(due: float) -> None:
        try:
            address, error = (await call()).reply.address, ""
        except ClientError as failure:
            address, error = "", type(failure).__name__
        called.append(Called(due, time.perf_counter() - due, address, error))

    async with asyncio.TaskGroup() as made:
        for due in due_s:
            # A late sender still yields, or no answer would be read while it catches up.
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            made.create_task(one(due))


def latencies(called: Sequence[Called]) -> dict[str, Any]:
    """Count calls and failures; p50 and p99 of the answered, None where there are none."""
    took_ms = [1e3 * each.took_s for each in called if not each.error]
    p50, p99 = np.percentile(took_ms, (50, 99)).tolist() if took_ms else (None, None)
    failed = len(called) - len(took_ms)
    return {"calls": len(called), "failed": failed, "p50_ms": p50, "p99_ms": p99}
