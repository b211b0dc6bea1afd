"""Whose turn it is, and who is left out for a while, by a clock that the test turns."""

from __future__ import annotations

import itertools

import pytest

from megatick_client import (
    BadRequest,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    ServerError,
    ServerUnavailable,
)
from megatick_client.endpoints import Endpoint, Endpoints

GONE = ServerUnavailable("gone")


class Clock:
    """Seconds that pass when the test says so."""

    now_s = 100.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def three(clock: Clock) -> Endpoints:
    return Endpoints(("a:1", "b:1", "c:1"), clock=clock)


def turns(endpoints: Endpoints, count: int) -> list[str]:
    """Who gets the next calls, each of which is answered well."""
    chosen = [endpoints.choose() for _ in range(count)]
    for each in chosen:
        endpoints.done(each, None)
    return [each.address for each in chosen]


def named(endpoints: Endpoints, address: str) -> Endpoint:
    return next(each for each in endpoints.all if each.address == address)


def fail(
    endpoints: Endpoints, address: str, error: ServerUnavailable | ServerError
) -> None:
    """A call to this server fails so."""
    endpoint = named(endpoints, address)
    while endpoints.choose() is not endpoint:
        pass
    endpoints.done(endpoint, error)
    for each in endpoints.all:
        each.in_flight = 0


def test_each_has_its_turn(three: Endpoints) -> None:
    assert turns(three, 7) == [*("b:1", "c:1", "a:1") * 2, "b:1"]


def test_fewest_calls_in_flight(clock: Clock) -> None:
    endpoints = Endpoints(("a:1", "b:1"), "least_outstanding", clock)
    first, second = endpoints.choose(), endpoints.choose()
    assert {first.address, second.address} == {"a:1", "b:1"}

    endpoints.done(first, None)

    assert endpoints.choose() is first


def test_who_is_to_be_avoided_is_taken_where_nobody_else_stands(three: Endpoints) -> None:
    a, b, c = three.all
    assert {three.choose(avoid=(a, b)) for _ in range(5)} == {c}
    assert three.choose(avoid=(a, b, c)) in (a, b, c)


def test_one_refused_connection_ejects(three: Endpoints) -> None:
    fail(three, "b:1", GONE)

    assert "b:1" not in turns(three, 6)


@pytest.mark.parametrize("error", [ServerError("failed"), DeadlineExceeded("late")])
def test_five_failures_in_a_row_eject(
    three: Endpoints, error: ServerError | DeadlineExceeded
) -> None:
    a = three.all[0]
    for _ in range(4):
        a.in_flight += 1
        three.done(a, error)
    a.in_flight += 1
    three.done(a, None)  # the row is broken
    for _ in range(4):
        a.in_flight += 1
        three.done(a, error)
    assert a.ejected_until_s is None

    a.in_flight += 1
    three.done(a, error)

    assert "a:1" not in turns(three, 6)


@pytest.mark.parametrize("error", [Overloaded("full"), BadRequest("blank")])
def test_a_server_that_refuses_still_stands(three: Endpoints, error: Exception) -> None:
    a = three.all[0]
    for _ in range(20):
        a.in_flight += 1
        three.done(a, error)  # type: ignore[arg-type]

    assert "a:1" in turns(three, 3)


@pytest.mark.parametrize("ready", [False, True], ids=["it-stops", "it-never-had-it"])
def test_who_lacks_a_model_is_asked_at_once_whether_it_is_ready(
    three: Endpoints, clock: Clock, ready: bool
) -> None:
    a = three.all[0]
    for _ in range(2):  # calls that were in flight together
        a.in_flight += 1
        three.done(a, ModelNotReady("it has no available versions"))

    assert "a:1" not in turns(three, 6)
    assert three.due_for_a_probe() == [a]
    three.probed(a, ready=ready)

    assert ("a:1" in turns(three, 3)) is ready
    clock.now_s += 1
    assert list(three.due_for_a_probe()) == ([] if ready else [a])


def test_a_call_that_another_beat_is_a_failure(three: Endpoints) -> None:
    a = three.all[0]
    for _ in range(5):
        assert a.ejected_until_s is None
        a.in_flight += 1
        three.beaten(a)

    assert a.ejected_until_s is not None
    assert a.in_flight == 0


def test_a_server_that_is_down_for_days_costs_nothing_but_probes(
    three: Endpoints, clock: Clock
) -> None:
    fail(three, "b:1", GONE)

    for _ in range(1100):  # 2 to the power of 1024 is no float
        clock.now_s += 30
        (due,) = three.due_for_a_probe()
        three.probed(due, ready=False)

    assert due.ejected_until_s == clock.now_s + 30


def test_a_probe_is_due_once_and_readmits(three: Endpoints, clock: Clock) -> None:
    fail(three, "b:1", GONE)
    assert list(three.due_for_a_probe()) == []

    clock.now_s += 1
    (due,) = three.due_for_a_probe()
    assert due.address == "b:1"
    assert list(three.due_for_a_probe()) == []  # one answer is enough
    assert "b:1" not in turns(three, 3)

    three.probed(due, ready=True)

    assert "b:1" in turns(three, 3)


def test_each_failed_probe_doubles_the_time_up_to_thirty_seconds(
    three: Endpoints, clock: Clock
) -> None:
    fail(three, "b:1", GONE)

    waits = []
    for _ in range(7):
        begin_s = clock.now_s
        for tick in itertools.count(1):
            clock.now_s = begin_s + tick
            due = three.due_for_a_probe()
            if due:
                waits.append(tick)
                three.probed(due[0], ready=False)
                break

    assert waits == [1, 2, 4, 8, 16, 30, 30]


def test_a_good_answer_begins_the_doubling_anew(three: Endpoints, clock: Clock) -> None:
    for _ in range(3):
        fail(three, "b:1", GONE)
        clock.now_s += 30
        (due,) = three.due_for_a_probe()
        three.probed(due, ready=True)
        turns(three, 3)

    fail(three, "b:1", GONE)
    clock.now_s += 1

    assert [each.address for each in three.due_for_a_probe()] == ["b:1"]


def test_where_nobody_stands_calls_still_go_out(three: Endpoints) -> None:
    for each in three.all:
        each.in_flight += 1
        three.done(each, GONE)

    assert set(turns(three, 3)) == {"a:1", "b:1", "c:1"}


@pytest.mark.parametrize(
    ("addresses", "balance", "message"),
    [
        ((), "round_robin", "expected at least one"),
        (("a:1", "b"), "round_robin", "expected HOST:PORT, found 'b'"),
        (("a:1", "a:1"), "round_robin", "a:1 is there twice"),
        (("a:1",), "random", "balance: expected one of round_robin, least_outstanding"),
    ],
)
def test_what_is_refused(addresses: tuple[str, ...], balance: str, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        Endpoints(addresses, balance)  # type: ignore[arg-type]
