"""What a user of tritonclient writes: a call, and both of its streams; and the SDK's."""

from __future__ import annotations

import asyncio
import queue
import threading
import time
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import numpy as np
import tritonclient.grpc as triton
import tritonclient.grpc.aio as triton_aio

from megatick_client import AsyncClient

TEXT: Final = "Chipmaker raises its full-year guidance after a strong quarter"
OUTPUTS: Final = ("PROBABILITIES", "SCORE", "TOKENS", "TRUNCATED")
TIMEOUT_S: Final = 5.0


def arguments() -> dict[str, Any]:
    """The text, the outputs, and the server's timeout."""
    text = triton.InferInput("TEXT", [1, 1], "BYTES")
    text.set_data_from_numpy(np.array([[TEXT.encode()]], object))
    return {
        "inputs": [text],
        "outputs": [triton.InferRequestedOutput(name) for name in OUTPUTS],
        "timeout": round(TIMEOUT_S * 1e6),
    }


def values_of(reply: triton.InferResult) -> list[object]:
    """Read the outputs, as the SDK does."""
    return [reply.as_numpy(name).tolist() for name in OUTPUTS]


def stream(client: triton.InferenceServerClient, calls: int, in_flight: int) -> list[float]:
    """Make calls over one stream, from this thread; returns the seconds that each took.

    Raises:
        InferenceServerException: a call failed.
    """
    sent_s: queue.SimpleQueue[float] = queue.SimpleQueue()
    took_s: list[float] = []
    errors: list[Exception] = []
    free = threading.Semaphore(in_flight)

    def done(result: Any, error: Any) -> None:
        if error is None:
            values_of(result)
            # One stream answers in the order in which it was asked.
            took_s.append(time.perf_counter() - sent_s.get())
        else:
            errors.append(error)
        free.release()

    client.start_stream(done)
    try:
        for _ in range(calls):
            free.acquire()
            sent_s.put(time.perf_counter())
            client.async_stream_infer("sentiment", **arguments())
        for _ in range(in_flight):
            free.acquire()
    finally:
        client.stop_stream()
    if errors:
        raise errors[0]
    return took_s


async def stream_aio(
    client: triton_aio.InferenceServerClient, calls: int, in_flight: int
) -> list[float]:
    """Make calls over one stream, from this task; returns the seconds that each took.

    Raises:
        InferenceServerException: a call failed.
    """
    sent_s: list[float] = []
    took_s: list[float] = []
    free = asyncio.Semaphore(in_flight)

    async def requests() -> AsyncIterator[dict[str, Any]]:
        for _ in range(calls):
            await free.acquire()
            sent_s.append(time.perf_counter())
            yield {"model_name": "sentiment", **arguments()}

    async for reply, error in client.stream_infer(requests()):
        if error is not None:
            raise error
        values_of(reply)
        took_s.append(time.perf_counter() - sent_s[len(took_s)])
        free.release()
    return took_s


async def stream_ours(client: AsyncClient, calls: int, in_flight: int) -> list[float]:
    """Make calls over the SDK's stream; returns the seconds that each took.

    Raises:
        ClientError: a call failed.
    """
    sent_s: list[float] = []
    took_s: list[float] = []

    def texts() -> Iterator[str]:
        for _ in range(calls):
            sent_s.append(time.perf_counter())
            yield TEXT

    async with client.stream(texts(), max_in_flight=in_flight) as replies:
        async for reply in replies:
            if reply.error is not None:
                raise reply.error
            took_s.append(time.perf_counter() - sent_s[reply.position])
    return took_s
