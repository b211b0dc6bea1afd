"""The rules of a call, carried out by hand: no server, no clock but the deadline's."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest
from tritonclient.grpc import service_pb2

from megatick_client import (
    NO_RETRIES,
    BadRequest,
    ClientError,
    DeadlineExceeded,
    Hedging,
    ModelNotReady,
    Overloaded,
    Retries,
    ServerError,
    ServerUnavailable,
)
from megatick_client.attempts import Answer, Line, Query, answer, infer
from megatick_client.deadlines import Deadline
from megatick_client.endpoints import Endpoints
from megatick_client.hedging import FEWEST, Latencies
from megatick_client.requests import Request
from megatick_client.steps import Exchange, Outcome, Probe, Race, Send, Sleep, Step, T
from megatick_client.wire import MODEL_INFER, SERVER_READY
from megatick_contract import SENTIMENT
from megatick_contract.text import SCORE, TEXT

GONE, FULL = ServerUnavailable("gone"), Overloaded("full")
QUERY = Query(MODEL_INFER, b"", "sentiment", rows=1)


DEFAULTS = Retries()


def line(
    *addresses: str, retries: Retries = DEFAULTS, hedging: Hedging | None = None
) -> Line:
    """What a client with these servers shares."""
    latencies = Latencies(hedging) if hedging else None
    return Line(Endpoints(addresses), retries, latencies, random.Random(5))


def carry_out(
    exchange: Exchange[T], fates: dict[str, Sequence[ClientError | None]]
) -> tuple[T | ClientError, list[str]]:
    """Answer each sending by its server's next fate, the last one again and again.

    Returns:
        What came of it; and each step: the server's address, ``sleep``, ``probe``.
    """
    left: dict[str, Iterator[ClientError | None]] = {
        address: iter(fate) for address, fate in fates.items()
    }
    latest: dict[str, ClientError | None] = {}
    log: list[str] = []
    outcome: Outcome | None = None
    try:
        while True:
            step: Step = exchange.send(outcome)
            outcome = None
            if isinstance(step, Send):
                address = step.endpoint.address
                latest[address] = next(left[address], latest.get(address))
                log.append(address)
                outcome = Outcome(step, b"answer", latest[address])
            elif isinstance(step, Probe):
                log.append(f"probe {step.send.endpoint.address}")
                assert step.send.method == SERVER_READY
            else:
                assert isinstance(step, Sleep)
                log.append("sleep")
    except StopIteration as end:
        result: T = end.value
        return result, log
    except ClientError as error:
        return error, log


def call(
    line: Line, fates: dict[str, Sequence[ClientError | None]]
) -> tuple[object, list[str]]:
    return carry_out(answer(line, QUERY, Deadline.after(60)), fates)


def test_an_answer_is_who_gave_it() -> None:
    result, log = call(line("a:1"), {"a:1": [None]})

    assert isinstance(result, Answer)
    assert (result.message, result.endpoint.address, result.attempts) == (
        b"answer",
        "a:1",
        1,
    )
    assert log == ["a:1"]


def test_another_server_is_asked_at_once() -> None:
    """However many are gone, and though their failures would have spent the budget."""
    addresses = [f"h{number}:1" for number in range(30)]
    fates: dict[str, Sequence[ClientError | None]] = {each: [GONE] for each in addresses}
    fates["h0:1"] = [None]

    result, log = call(line(*addresses), fates)

    assert isinstance(result, Answer)
    assert result.endpoint.address == "h0:1"
    assert "sleep" not in log
    assert len(log) == len(set(log)) == result.attempts == 30


def test_the_only_server_is_asked_again_after_a_wait() -> None:
    result, log = call(line("a:1"), {"a:1": [GONE, FULL, None]})

    assert isinstance(result, Answer)
    assert result.attempts == 3
    assert log == ["a:1", "sleep", "a:1", "sleep", "a:1"]


def test_attempts_end() -> None:
    result, log = call(line("a:1", retries=Retries(attempts=3)), {"a:1": [GONE]})

    assert result is GONE
    assert log.count("a:1") == 3


@pytest.mark.parametrize("error", [GONE, FULL])
def test_no_retries_repeat_nothing(error: ClientError) -> None:
    result, log = call(
        line("a:1", "b:1", retries=NO_RETRIES), {"a:1": [error], "b:1": [error]}
    )

    assert result is error
    assert len(log) == 1


@pytest.mark.parametrize(
    "error", [BadRequest("blank"), ServerError("crash"), DeadlineExceeded("late")]
)
def test_what_another_try_cannot_mend_is_not_tried(error: ClientError) -> None:
    result, log = call(line("a:1", "b:1"), {"a:1": [error], "b:1": [error]})

    assert result is error
    assert len(log) == 1


def test_a_model_that_one_server_lacks_may_be_elsewhere() -> None:
    missing = ModelNotReady("loading")

    result, log = call(line("a:1", "b:1"), {"a:1": [None], "b:1": [missing]})
    assert isinstance(result, Answer)
    assert log == ["b:1", "probe b:1", "a:1"]

    result, log = call(line("a:1"), {"a:1": [missing]})
    assert result is missing
    assert log == ["a:1"]


def test_a_wait_that_the_deadline_does_not_hold_is_not_begun() -> None:
    slow = line("a:1", retries=Retries(first_wait_s=1e6, longest_wait_s=1e6))

    result, log = call(slow, {"a:1": [FULL]})

    assert result is FULL
    assert log == ["a:1"]


def test_repeats_end_with_the_budget_and_begin_again_with_good_answers() -> None:
    """Of 4 failures 2 may be in hand: the first call's two repeats; then none."""
    shared = line("a:1", retries=Retries(attempts=10, budget=4))
    _, log = call(shared, {"a:1": [FULL]})
    assert log.count("a:1") == 2

    _, log = call(shared, {"a:1": [FULL]})
    assert log.count("a:1") == 1

    for _ in range(31):  # a tenth each
        call(shared, {"a:1": [None]})
    _, log = call(shared, {"a:1": [FULL, None]})
    assert log == ["a:1", "sleep", "a:1"]


def test_an_ejected_server_is_probed_beside_the_next_call() -> None:
    shared = line("a:1", "b:1")
    call(shared, {"a:1": [None], "b:1": [GONE]})
    gone = shared.endpoints.all[1]
    gone.ejected_until_s = 0.0

    _, log = call(shared, {"a:1": [None]})

    assert log == ["probe b:1", "a:1"]


def test_nothing_stays_in_flight() -> None:
    shared = line("a:1", "b:1")
    call(shared, {"a:1": [None], "b:1": [GONE]})
    given_up = answer(shared, QUERY, Deadline.after(1))
    next(given_up)
    assert [each.in_flight for each in shared.endpoints.all] == [1, 0]

    given_up.close()

    assert [each.in_flight for each in shared.endpoints.all] == [0, 0]


def test_a_late_call_is_hedged_to_another_server() -> None:
    """After the 95th percentile of 1 to 100 ms, by linear interpolation: 95.05 ms."""
    shared = line("a:1", "b:1", hedging=Hedging(95))
    assert shared.latencies is not None
    for number in range(1, FEWEST):
        shared.latencies.add("sentiment", 1, number / 1e3)
    exchange = answer(shared, QUERY, Deadline.after(1))
    assert isinstance(next(exchange), Send)  # too few were seen
    exchange.close()

    for number in range(FEWEST, 101):
        shared.latencies.add("sentiment", 1, number / 1e3)
    exchange = answer(shared, QUERY, Deadline.after(1))
    race = next(exchange)

    assert isinstance(race, Race)
    assert race.after_s == pytest.approx(0.09505)
    second = race.second()
    assert second.endpoint is not race.first.endpoint
    with pytest.raises(StopIteration) as end:
        exchange.send(Outcome(second, b"second", None))
    assert end.value.value.attempts == 2
    assert [each.in_flight for each in shared.endpoints.all] == [0, 0]


def test_hedging_does_not_run_away_from_a_server_that_stalls() -> None:
    """Nine in ten of a's calls lose their race; the hedge stays where it was."""
    shared = line("a:1", "b:1", hedging=Hedging(95))
    assert shared.latencies is not None
    for _ in range(FEWEST):
        shared.latencies.add("sentiment", 1, 1e-4)
    before_s = shared.latencies.hedge_after_s("sentiment", 1)

    for _ in range(2000):
        exchange = answer(shared, QUERY, Deadline.after(1))
        race = next(exchange)
        assert isinstance(race, Race)
        stalled = race.first.endpoint is shared.endpoints.all[0]
        winner = race.second() if stalled else race.first
        with pytest.raises(StopIteration):
            exchange.send(Outcome(winner, b"answer", None))
        shared.endpoints.all[0].ejected_until_s = None  # it would be out after five

    assert before_s is not None
    assert shared.latencies.hedge_after_s("sentiment", 1) == pytest.approx(before_s)


def test_too_little_time_is_no_servers_fault() -> None:
    """The second is never asked with nothing left; the first is not blamed for 5 ms."""
    late = DeadlineExceeded("late")
    shared = line("a:1", "b:1")
    for _ in range(20):
        carry_out(
            answer(shared, QUERY, Deadline.after(0.005)), {"a:1": [late], "b:1": [late]}
        )
    assert [each.ejected_until_s for each in shared.endpoints.all] == [None, None]

    over = Deadline(timeout_s=1.0, at_s=0.0)
    result, log = carry_out(answer(shared, QUERY, over), {"a:1": [GONE], "b:1": [GONE]})
    assert result is GONE
    assert len(log) == 1


def test_rows_of_another_order_are_another_kind_of_call() -> None:
    latencies = Latencies(Hedging())
    for _ in range(FEWEST):
        latencies.add("sentiment", 1, 0.5)

    assert latencies.hedge_after_s("sentiment", 1) == 0.5
    assert latencies.hedge_after_s("sentiment", 32) is None
    assert latencies.hedge_after_s("market_view", 1) is None


def test_each_sending_tells_the_server_what_is_left() -> None:
    """The message is encoded once; the timeout is added in microseconds each time."""
    request = Request(
        SENTIMENT, inputs={TEXT: np.array([[b"up"]], object)}, outputs=(SCORE,)
    )
    exchange = infer(line("a:1"), request, Deadline.after(2.0))
    send = next(exchange)
    assert isinstance(send, Send)

    message = service_pb2.ModelInferRequest.FromString(send.message)

    assert 1.9e6 < message.parameters["timeout"].int64_param <= 2e6
    assert message.model_name == "sentiment"
    assert message.id
    exchange.close()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"attempts": 0}, "attempts: expected an integer >= 1, found 0"),
        ({"budget": 0.5}, "budget: expected an integer >= 1, found 0.5"),
        ({"first_wait_s": 0}, "first_wait_s: expected seconds > 0, found 0"),
        (
            {"longest_wait_s": float("inf")},
            "longest_wait_s: expected seconds > 0, found inf",
        ),
    ],
)
def test_retries_out_of_range(settings: dict[str, float], message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        Retries(**settings)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "settings", [{"percentile": 40}, {"percentile": "95"}, {"at_least_s": -1}]
)
def test_hedging_out_of_range(settings: dict[str, Any]) -> None:
    with pytest.raises(BadRequest, match=f"hedging: {next(iter(settings))}: expected"):
        Hedging(**settings)


def test_waits_double_up_to_the_longest_and_are_drawn_from_zero() -> None:
    retries = Retries(first_wait_s=0.1, longest_wait_s=0.3)
    draw = random.Random(1)
    waits = np.array([[retries.wait_s(n, draw) for n in (1, 2, 3, 9)] for _ in range(4000)])

    np.testing.assert_allclose(waits.max(axis=0), [0.1, 0.2, 0.3, 0.3], rtol=0.02)
    np.testing.assert_allclose(waits.mean(axis=0), [0.05, 0.1, 0.15, 0.15], rtol=0.05)
