"""Lanes, deadlines and cancelled calls on the real server: who waits for whom."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from served import Served

from megatick_server.launcher import ServeOptions, TritonServer

pytestmark = pytest.mark.triton

WAIT_S = 60.0
LONG = " ".join(["profit rises as costs fall"] * 4)


@pytest.fixture
def raw(served: Served) -> Iterator[Any]:
    with triton.InferenceServerClient(served.server.endpoints.grpc) as client:
        yield client


def text_input(*texts: str) -> Any:
    given = triton.InferInput("TEXT", [len(texts), 1], "BYTES")
    given.set_data_from_numpy(np.array([[each.encode()] for each in texts], object))
    return given


class Calls:
    """Requests in flight, and the order in which they are answered."""

    def __init__(self, client: Any) -> None:
        self._client = client
        self._answers: SimpleQueue[tuple[str, Any, Any]] = SimpleQueue()

    def send(self, name: str, *texts: str, lane: str = "live", **more: Any) -> Any:
        return self.send_input(name, text_input(*texts), lane=lane, **more)

    def send_input(self, name: str, given: Any, *, lane: str, **more: Any) -> Any:
        return self._client.async_infer(
            "sentiment",
            [given],
            lambda result, error: self._answers.put((name, result, error)),
            parameters={"lane": lane},
            **more,
        )

    def answered(self, count: int) -> list[tuple[str, Any, Any]]:
        return [self._answers.get(timeout=WAIT_S) for _ in range(count)]


@pytest.mark.parametrize("lane", ["backfill", "live"])
def test_a_text_overtakes_the_large_requests_that_wait(raw: Any, lane: str) -> None:
    large, small = text_input(*[LONG] * 256), text_input("profit rises")

    def place_of_the_small_one() -> int:
        calls = Calls(raw)
        for number in range(8):
            calls.send_input(f"large {number}", large, lane=lane)
        calls.send_input("small", small, lane="live")
        answers = calls.answered(9)
        assert all(error is None for _, _, error in answers)
        order = [name for name, _, _ in answers]
        assert len(set(order)) == 9
        return order.index("small")

    # It was sent last.  Where the machine stood still before that, none waits any more.
    assert any(place_of_the_small_one() < 4 for _ in range(5))


def test_a_text_does_not_wait_until_megabytes_are_tokenized(raw: Any) -> None:
    large, small = text_input(*["profit rises " * 5000] * 32), text_input("profit rises")

    def seconds() -> dict[str, float]:
        calls, sent_s, took_s = Calls(raw), {}, {}
        for name, texts in (("large", large), ("small", small)):
            sent_s[name] = time.monotonic()
            calls.send_input(name, texts, lane="live")
            time.sleep(0.2)  # for its way to the server
        for _ in range(2):
            ((name, _, error),) = calls.answered(1)
            assert error is None
            took_s[name] = time.monotonic() - sent_s[name]
        return took_s

    assert any(
        took_s["small"] < took_s["large"] / 3 for took_s in (seconds() for _ in "12345")
    )


def test_a_request_that_cannot_be_in_time_is_refused_and_the_others_answered(
    raw: Any,
) -> None:
    calls = Calls(raw)
    for number in range(30):
        calls.send(f"{number}", *[LONG] * 32)
    calls.send("hurried", LONG, timeout=1)  # microsecond, which is over on its way

    answers = {name: error for name, _, error in calls.answered(31)}

    hurried = answers.pop("hurried")
    assert "UNAVAILABLE" in hurried.status()
    assert any(
        words in hurried.message()
        for words in ("left of the request's timeout", "Request timeout expired")
    )
    assert set(answers.values()) == {None}


def test_an_unknown_lane_is_refused_by_name(raw: Any) -> None:
    calls = Calls(raw)
    calls.send("x", "profit rises", lane="express")

    ((_, _, error),) = calls.answered(1)
    assert "INVALID_ARGUMENT" in error.status()
    assert "came with lane 'express', expected one of live, backfill" in error.message()


def test_cancelled_calls_harm_no_other(raw: Any) -> None:
    calls = Calls(raw)
    cancelled = [calls.send("cancelled", *[LONG] * 32, lane="backfill") for _ in range(20)]
    for each in cancelled:
        each.cancel()
    calls.send("after", LONG, lane="backfill")

    answers = calls.answered(21)
    ((_, result, error),) = [each for each in answers if each[0] == "after"]
    assert error is None
    assert result.as_numpy("SCORE").shape == (1, 1)


def test_a_server_keeps_to_its_cpus_and_remembers_texts(served: Served) -> None:
    options = ServeOptions(grpc_port=0, metrics_port=None, cpus=1, cached_texts=10)
    with TritonServer(Path(served.server.repository.path), options) as server:
        assert len(os.sched_getaffinity(server.pid)) == 1
        with triton.InferenceServerClient(server.endpoints.grpc) as client:
            calls = Calls(client)
            answers = []
            for texts in (["profit rises"], ["sales fall", "profit rises"]):
                calls.send("x", *texts)
                ((_, result, error),) = calls.answered(1)
                assert error is None
                answers.append(result)
    first, second = answers
    assert first.as_numpy("STAGE_US")[0, 2] > 0
    assert second.as_numpy("SCORE")[1] == first.as_numpy("SCORE")[0]
    assert second.as_numpy("SCORE")[0] != first.as_numpy("SCORE")[0]
