"""What a failover's figures are made of: calls that leave when due, and their phases."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable

import pytest
from failover import first_answer_of, phases, steady
from open_loop import Called, latencies, offer, offer_by_threads

from megatick_client import Sentiment, ServerUnavailable
from megatick_client.replies import ReplyInfo
from megatick_client.sentiments import Probabilities

ANSWER = Sentiment(
    "x",
    "neutral",
    0.0,
    Probabilities(0, 1, 0),
    1,
    truncated=False,
    reply=ReplyInfo("", "a:1"),
)
PAUSE_S = 0.1

Offer = Callable[[Callable[[], Sentiment], list[float], list[Called]], None]


def by_one_thread(
    call: Callable[[], Sentiment], due_s: list[float], called: list[Called]
) -> None:
    offer_by_threads(call, due_s, called, threads=1)


def by_tasks(
    call: Callable[[], Sentiment], due_s: list[float], called: list[Called]
) -> None:
    async def awaited() -> Sentiment:
        return call()  # blocks the loop, as one thread is blocked

    asyncio.run(offer(awaited, due_s, called))


@pytest.mark.parametrize("offer_to", [by_one_thread, by_tasks])
def test_latency_counts_from_when_a_call_was_due(offer_to: Offer) -> None:
    called: list[Called] = []

    def call() -> Sentiment:
        time.sleep(PAUSE_S)
        return ANSWER

    offer_to(call, [time.perf_counter()] * 3, called)

    # One behind the other: the last waits for the first two; a busy machine adds to it.
    assert len(called) == 3
    assert all(each.took_s >= n * PAUSE_S for n, each in enumerate(called, 1))
    assert {each.address for each in called} == {"a:1"}


@pytest.mark.parametrize("offer_to", [by_one_thread, by_tasks])
def test_a_failure_is_counted_and_another_error_raised(offer_to: Offer) -> None:
    called: list[Called] = []

    def fail() -> Sentiment:
        raise ServerUnavailable("gone")

    def crash() -> Sentiment:
        raise ZeroDivisionError

    offer_to(fail, [0.0], called)
    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        offer_to(crash, [0.0], called)

    assert [each.error for each in called] == ["ServerUnavailable"]
    assert latencies(called) == {"calls": 1, "failed": 1, "p50_ms": None, "p99_ms": None}


def test_failures_are_in_no_latency() -> None:
    called = [Called(0, 0.002, "a:1"), Called(0, 9, "", "DeadlineExceeded")]

    assert latencies(called) == {"calls": 2, "failed": 1, "p50_ms": 2.0, "p99_ms": 2.0}


def test_phases() -> None:
    before = Called(1.0, 0.5, "a:1")
    in_flight_at_the_kill = Called(1.9, 0.2, "b:1")
    while_down = Called(3.0, 0.1, "b:1")
    after = Called(5.0, 0.1, "a:1")

    assert phases(
        [after, before, while_down, in_flight_at_the_kill], killed_s=2.0, back_s=5.0
    ) == {
        "before": [before],
        "during": [while_down, in_flight_at_the_kill],
        "after": [after],
    }


def test_first_answer_is_the_servers_own_and_not_from_before_its_end() -> None:
    called = [Called(1, 0.1, "a:1"), Called(5, 0.1, "b:1"), Called(6, 0.25, "a:1")]

    assert first_answer_of("a:1", called, since_s=4.0) == 6.25


def test_steady_ends_when_told() -> None:
    over = threading.Event()
    due_s = steady(4, over)

    first = next(due_s)
    second = next(due_s)
    over.set()

    assert second - first == pytest.approx(0.25)
    assert next(due_s, None) is None
