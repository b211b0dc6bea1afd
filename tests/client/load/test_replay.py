"""Schedules played against an endpoint whose faults are known."""

from __future__ import annotations

import json
import math
import socket
import time
from collections import Counter
from dataclasses import asdict
from itertools import cycle, islice
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from endpoint import Arrays, Endpoint, serve, texts_of
from undisturbed import undisturbed

from megatick_client import BadRequest, DeadlineExceeded, ServerUnavailable
from megatick_client.load import (
    ReplayOptions,
    ReplayResult,
    ScheduleError,
    Texts,
    Tolerance,
    constant,
    poisson,
    replay,
    sender,
    sentiment_calls,
)

CALLS = sentiment_calls(Texts(("+", "++", "flat")))
QUICK = ReplayOptions(references=3)


def test_every_call_leaves_when_it_is_due_and_is_answered() -> None:
    def play() -> tuple[ReplayResult, Endpoint]:
        with serve(Endpoint()) as endpoint:
            plan = poisson(200, 1, seed=5)
            return replay(plan, CALLS, endpoint.address, options=QUICK), endpoint

    result, endpoint = undisturbed(play)

    records = result.records
    assert len(records) == len(poisson(200, 1, seed=5))
    assert result.outcome("answered") == len(records)
    assert (records.lag_s >= 0).all()
    assert np.median(records.lag_s) < 0.1  # of a second in which they are due
    assert (records.from_due_s >= records.from_send_s).all()
    assert result.answers.compared == result.answers.checked == len(records)
    assert result.answers.max_score_error == 0
    sent = [texts_of(each)[0] for each in endpoint.requests]
    assert sent[:3] == ["+", "++", "flat"], "the references come first, one by one"
    in_turn = islice(cycle(["+", "++", "flat"]), len(records))
    assert Counter(sent[3:]) == Counter(in_turn)


def test_a_stall_is_seen_by_everybody_who_would_have_called() -> None:
    """The server stands still for 1 s at 100 calls/s: the call that is due k/100 s into
    it waits 1 - k/100 s.  A closed loop would have sent one call, and seen one wait."""

    options = ReplayOptions(references=3, slo_s=0.3)

    def play() -> ReplayResult:
        with serve(Endpoint(stall_at=3 + 50, stall_s=1)) as endpoint:
            return replay(constant(100, 2), CALLS, endpoint.address, options=options)

    result = undisturbed(play)

    waits_s = result.records.from_due_s
    assert result.outcome("answered") == 200
    assert result.most_in_flight >= 50  # 100, less what a busy machine is late
    for late in (0, 25, 50, 75):
        assert waits_s[50 + late] == pytest.approx(1 - late / 100, abs=0.15)
    assert (waits_s > 0.3).sum() == pytest.approx(70, abs=15)
    assert result.from_due.p50_ms < 600
    assert result.from_due.p99_ms > 900
    assert result.good_share == pytest.approx(1 - 70 / 200, abs=0.08)


def test_a_late_sender_is_in_the_intended_start_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Our own loop stands still for half a second: calls leave late, at once, and the
    server is as quick as ever."""
    original, calls = sender.Sender.call, 0

    async def call(self: sender.Sender, message: bytes) -> bytes:
        nonlocal calls
        calls += 1
        if calls == 3 + 20:
            time.sleep(0.5)  # the fault
        return await original(self, message)

    def play() -> ReplayResult:
        nonlocal calls
        calls = 0
        with serve(Endpoint()) as endpoint:
            return replay(constant(100, 1), CALLS, endpoint.address, options=QUICK)

    monkeypatch.setattr(sender.Sender, "call", call)
    result = undisturbed(play)

    assert result.lag.max_ms == pytest.approx(490, abs=80)  # the next was due in 10 ms
    assert result.from_due.p90_ms > 350
    assert result.outcome("answered") == 100
    late = np.flatnonzero(result.records.lag_s > 0.1)
    assert np.median(result.records.from_send_s[late]) < 0.25
    assert any("sender fell behind" in warning for warning in result.warnings)


def test_what_the_bound_forbids_is_counted() -> None:
    """Nobody is answered for long; ten may wait, the other 40 are not sent."""
    options = ReplayOptions(references=0, max_in_flight=10, timeout_s=30)
    with serve(Endpoint(stall_at=1, stall_s=4)) as endpoint:
        result = replay(constant(100, 0.5), CALLS, endpoint.address, options=options)

    assert result.outcome("answered") == 10
    assert result.outcome("not sent") == 40
    assert result.most_in_flight == 10
    assert len(endpoint.requests) == 1 + 10
    assert np.isnan(result.records.sent_s).sum() == 40
    assert any("40 calls were not sent" in warning for warning in result.warnings)


def test_a_deadline_counts_from_the_send() -> None:
    options = ReplayOptions(references=0, timeout_s=0.3)
    with serve(Endpoint(stall_at=1, stall_s=5)) as endpoint:
        result = replay(constant(20, 0.5), CALLS, endpoint.address, options=options)

    assert result.outcome("DeadlineExceeded") == 10
    (outcome,) = result.outcomes
    assert 250 < outcome.from_send.max_ms < 4_000
    assert "no answer in time of 0.3 s" in outcome.example
    assert result.goodput_per_s == 0
    assert math.isnan(result.from_due.p50_ms)


def test_a_late_call_is_let_be() -> None:
    """The endpoint has its callers yet when it answers, long after their deadline."""

    class Watching(Endpoint):
        def check(self, texts: list[str], context: Any) -> None:
            there.append(context.is_active())

    there: list[bool] = []
    options = ReplayOptions(references=0, timeout_s=0.3)
    with serve(Watching(stall_at=1, stall_s=1)) as endpoint:
        result = replay(constant(20, 0.5), CALLS, endpoint.address, options=options)

    assert result.outcome("DeadlineExceeded") == 10
    assert there == [True] * 11  # the first is the one before the clock runs


def test_refusals_are_counted_by_their_class() -> None:
    with serve(Endpoint(refuse=range(3 + 10, 3 + 30))) as endpoint:
        result = replay(constant(200, 0.5), CALLS, endpoint.address, options=QUICK)

    assert result.outcome("Overloaded") == 20
    assert result.outcome("answered") == 80
    assert "server is overloaded" in result.examples["Overloaded"]
    assert result.answers.checked == 80


def test_wrong_answers_are_found_under_load() -> None:
    """From the 20th on, probabilities do not sum to 1, or the score has moved."""

    def spoil(number: int, outputs: Arrays) -> None:
        if number == 3 + 20:
            outputs["PROBABILITIES"][:, 1] += 0.1
        if number == 3 + 21:
            outputs["PROBABILITIES"] = np.array([[0, 0, 1]], np.float32)
            outputs["SCORE"][:] = 1

    with serve(Endpoint(spoil=spoil), threads=1) as endpoint:  # one call after another
        result = replay(constant(100, 0.5), CALLS, endpoint.address, options=QUICK)

    assert result.answers.problems == {
        "probabilities do not sum to 1": 1,
        "score differs from the reference": 1,
    }
    assert result.answers.wrong == result.outcome("wrong answer") == 2
    assert result.outcome("answered") == 48
    assert np.flatnonzero(result.records.are("wrong answer")).tolist() == [20, 21]


def raised(number: int, outputs: Arrays) -> None:
    """From the first call of the schedule on, scores are 1/8 higher: 1/16 of P(negative)
    has gone to P(positive)."""
    if number >= 2:
        outputs["PROBABILITIES"] += np.array([-1, 0, 1], np.float32) / 16
        outputs["SCORE"] += np.float32(1 / 8)


@pytest.mark.parametrize(
    ("stated", "given", "used", "wrong"),
    [
        pytest.param(0.25, None, Tolerance(0.25, "stated by the server"), 0, id="stated"),
        pytest.param(
            0.0625, None, Tolerance(0.0625, "stated by the server"), 4, id="stated-less"
        ),
        pytest.param(0.25, 0.1, Tolerance(0.1, "given"), 4, id="given-less-than-stated"),
        pytest.param(None, 0.25, Tolerance(0.25, "given"), 0, id="given"),
        pytest.param(
            None,
            None,
            Tolerance(1e-3, "default: the server states none"),
            4,
            id="a-foreign-server",
        ),
    ],
)
def test_how_far_a_score_may_move_is_the_servers_to_say(
    stated: float | None, given: float | None, used: Tolerance, wrong: int
) -> None:
    """Of ten calls under load 0, 3, 6 and 9 have a reference: one call was asked before,
    after the server was asked for its tolerance, where it states one."""
    options = ReplayOptions(references=1, score_tolerance=given)
    asked = 1 if given is None and stated is not None else 0

    def spoil(number: int, outputs: Arrays) -> None:
        raised(number + 1 - asked, outputs)

    with serve(Endpoint(tolerance=stated, spoil=spoil)) as endpoint:
        result = replay(constant(100, 0.1), CALLS, endpoint.address, options=options)

    assert result.tolerance == used
    assert result.answers.compared == 4
    assert result.answers.wrong == wrong
    assert len(endpoint.requests) == asked + 1 + 10
    assert json.loads(result.to_json())["tolerance"] == asdict(used)


def test_a_server_that_keeps_its_metadata_to_itself_states_none() -> None:
    class Private(Endpoint):
        def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
            context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted")

    with serve(Private(tolerance=0.25)) as endpoint:
        result = replay(constant(100, 0.1), CALLS, endpoint.address, options=QUICK)

    assert result.tolerance.source == "default: the server states none"
    assert result.outcome("answered") == 10


@pytest.mark.parametrize(
    ("expected", "compared", "wrong"),
    [
        pytest.param({0: np.array([0.25])}, 4, 0, id="as-given"),
        pytest.param({0: np.array([0.2])}, 4, 4, id="0.05-off"),
        pytest.param({}, 0, 0, id="none-given"),
    ],
)
def test_scores_may_be_given(expected: dict[int, Any], compared: int, wrong: int) -> None:
    """Ten calls, of which 0, 3, 6 and 9 ask about "+", whose score is 1/4."""
    with serve(Endpoint()) as endpoint:
        result = replay(constant(100, 0.1), CALLS, endpoint.address, expected=expected)

    assert len(endpoint.requests) == 1 + 10, "one call to warm up"
    assert (result.answers.compared, result.answers.wrong) == (compared, wrong)


def test_parameters_reach_the_server() -> None:
    options = ReplayOptions(references=0, timeout_s=1.5, priority=2)
    with serve(Endpoint()) as endpoint:
        replay(constant(10, 0.1), CALLS, endpoint.address, options=options)

    for request in endpoint.requests:
        assert request.parameters["timeout"].int64_param == 1_500_000
        assert request.parameters["priority"].uint64_param == 2


def test_connections_are_taken_in_turn() -> None:
    class Peers(Endpoint):
        def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802
            peers.append(context.peer())
            return super().ModelInfer(request, context)

    peers: list[str] = []
    options = ReplayOptions(references=0, connections=3)
    with serve(Peers()) as endpoint:
        replay(constant(100, 0.3), CALLS, endpoint.address, options=options)

    counts = sorted(peers.count(peer) for peer in set(peers))
    assert len(peers) == 31
    assert counts == [10, 10, 11]


def test_nobody_there_is_said_before_the_clock_runs(dead_address: str) -> None:
    with pytest.raises(ServerUnavailable, match="no server answers"):
        replay(constant(1, 3600), CALLS, dead_address)


def test_a_server_that_is_silent_from_the_start() -> None:
    options = ReplayOptions(timeout_s=0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(DeadlineExceeded):
            replay(constant(1, 3600), CALLS, address, options=options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        pytest.param(ReplayOptions(max_in_flight=0), "most calls in flight", id="bound"),
        pytest.param(ReplayOptions(connections=0), "connections", id="connections"),
        pytest.param(ReplayOptions(references=-1), "references", id="references"),
        pytest.param(ReplayOptions(priority=0), "priority", id="priority"),
        pytest.param(ReplayOptions(slo_s=0), "SLO", id="slo"),
        pytest.param(ReplayOptions(score_tolerance=math.nan), "tolerance", id="tolerance"),
    ],
)
def test_options_out_of_range(options: ReplayOptions, message: str) -> None:
    with pytest.raises(ScheduleError, match=message):
        replay(constant(1, 1), CALLS, "127.0.0.1:1", options=options)


def test_a_deadline_must_be_above_0() -> None:
    with pytest.raises(BadRequest, match="timeout_s"):
        replay(constant(1, 1), CALLS, "127.0.0.1:1", options=ReplayOptions(timeout_s=0))


def test_there_must_be_calls() -> None:
    with pytest.raises(ScheduleError, match="calls: expected at least one"):
        replay(constant(1, 1), (), "127.0.0.1:1")
