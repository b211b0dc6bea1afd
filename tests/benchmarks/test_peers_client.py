"""The client of the benchmark against peers, on a server whose answers are known."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import numpy as np
import pytest
from aiohttp import web
from peers.client import KSERVE, PLAIN, Calls, Client, Wire, poisson

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
SHARES = [0.1, 0.2, 0.7]


@asynccontextmanager
async def server(handler: Handler, path: str = "/classify") -> AsyncIterator[str]:
    app = web.Application()
    app.router.add_post(path, handler)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


def one_at_a_time(seconds: float) -> Handler:
    lock = asyncio.Lock()

    async def answer(request: web.Request) -> web.Response:
        async with lock:
            await asyncio.sleep(seconds)
        return web.json_response({"probabilities": SHARES})

    return answer


def test_an_open_loop_counts_from_when_a_call_was_due() -> None:
    async def run() -> Calls:
        async with server(one_at_a_time(0.1)) as url:
            return await Client(url, PLAIN, ["a"], [2]).open(np.full(5, -1.0))

    calls = asyncio.run(run())

    # All due a second ago, served in turn: 1.1, 1.2 ... 1.5 s at the least.
    late = np.sort(calls.latencies_s) - (1 + 0.1 * np.arange(1, 6))
    assert late.min() > -0.01
    assert late.max() < 5  # a busy machine


def test_percentiles_lie_between_the_calls() -> None:
    calls = Calls(1.0, np.arange(101) / 1000, 0, {}, 0.0)  # 0 to 100 ms

    assert calls.percentile_ms(50) == pytest.approx(50)
    assert calls.percentile_ms(99) == pytest.approx(99)
    assert calls.per_s == 101


def test_a_closed_loop_keeps_just_so_many_in_flight() -> None:
    most = inside = 0

    async def answer(request: web.Request) -> web.Response:
        nonlocal most, inside
        inside += 1
        most = max(most, inside)
        await asyncio.sleep(0.1)
        inside -= 1
        return web.json_response({"probabilities": SHARES})

    async def run() -> Calls:
        async with server(answer) as url:
            return await Client(url, PLAIN, ["a"], [2]).closed(3, warm_s=0.3, window_s=4.0)

    calls = asyncio.run(run())

    assert most == 3
    # At most 3 calls a tenth of a second, and what ends in the warm-up is not counted.
    assert 3 <= calls.answered <= 123
    assert calls.per_s <= 31
    assert calls.client_cpu_s > 0


def test_a_silent_server_has_no_throughput() -> None:
    async def run() -> Calls:
        async with server(one_at_a_time(0.5)) as url:
            return await Client(url, PLAIN, ["a"], [2]).closed(1, warm_s=0.1, window_s=0.2)

    with pytest.raises(TimeoutError, match="give a longer --window"):
        asyncio.run(run())


def test_labels_are_held_against_their_own_texts() -> None:
    async def answer(request: web.Request) -> web.Response:
        text = (await request.json())["text"]
        return web.json_response({"probabilities": np.eye(3)[len(text) - 1].tolist()})

    async def run() -> Calls:
        async with server(answer) as url:
            # The third answer, 2, is not the label.
            client = Client(url, PLAIN, ["a", "bb", "ccc"], [0, 1, 0])
            return await client.open(np.arange(6) * 0.01)

    calls = asyncio.run(run())

    assert (calls.answered, calls.agreeing) == (6, 4)


def test_a_refused_call_is_a_failure_and_no_latency() -> None:
    numbers = iter(range(100))

    async def answer(request: web.Request) -> web.Response:
        if next(numbers) % 2:
            return web.Response(status=503)
        return web.json_response({"probabilities": SHARES})

    async def run() -> Calls:
        async with server(answer) as url:
            return await Client(url, PLAIN, ["a"], [2]).open(np.zeros(4))

    calls = asyncio.run(run())

    assert calls.answered == 2
    assert calls.failures == {"ClientResponseError": 2}
    assert calls.percentile_ms(99) == float("inf")


def test_a_kserve_reply_is_read() -> None:
    async def answer(request: web.Request) -> web.Response:
        (given,) = (await request.json())["inputs"]
        assert given == {
            "name": "TEXT",
            "shape": [1, 1],
            "datatype": "BYTES",
            "data": ["a"],
        }
        return web.json_response({"outputs": [{"name": "PROBABILITIES", "data": SHARES}]})

    async def run(wire: Wire) -> Calls:
        async with server(answer, wire.path) as url:
            return await Client(url, wire, ["a"], [2]).open(np.zeros(1))

    assert asyncio.run(run(KSERVE)).agreeing == 1


def test_waiting_ends_when_the_server_does() -> None:
    async def run() -> None:
        client = Client("http://127.0.0.1:9", PLAIN, ["a"], [2])  # discard: nobody listens
        await client.ready(timeout_s=60, alive=lambda: False)

    with pytest.raises(ChildProcessError, match="ended before its first answer"):
        asyncio.run(run())


def test_poisson_calls_come_at_their_rate() -> None:
    due = poisson(100, 50, seed=3)

    # 5,000 expected, their standard deviation is the root of that: 71.
    assert abs(len(due) - 5000) < 4 * 71
    gaps = np.diff(due)
    assert gaps.min() > 0
    assert gaps.std() == pytest.approx(0.01, rel=0.1)  # an exponential's is its mean
