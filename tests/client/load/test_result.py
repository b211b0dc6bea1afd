"""Figures of a run of six calls that a reader can redo."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

from megatick_client.load import (
    AnswerCounts,
    Records,
    ReplayOptions,
    ReplayResult,
    Tolerance,
)

NAN = math.nan

# Due every half a second.  The first two are answered in 0.1 s; the third left 0.2 s late
# and was answered 0.1 s after; the fourth was refused in 5 ms; the fifth was answered
# wrongly; the sixth was not sent.
RECORDS = Records(
    due_s=np.array([0, 0.5, 1, 1.5, 2, 2.5]),
    sent_s=np.array([0, 0.5, 1.2, 1.5, 2, NAN]),
    done_s=np.array([0.1, 0.6, 1.3, 1.505, 2.1, NAN]),
    outcomes=np.array([0, 0, 0, 3, 1, 2], dtype=np.int16),
    names=("answered", "wrong answer", "not sent", "Overloaded"),
)


def result_of(records: Records = RECORDS, *, slo_s: float = 0.15) -> ReplayResult:
    return ReplayResult(
        endpoint="127.0.0.1:1",
        model="sentiment",
        schedule="by hand",
        duration_s=3.0,
        rows_per_call=1,
        started_at_s=1_700_000_000.0,
        options=ReplayOptions(slo_s=slo_s, max_in_flight=7),
        records=records,
        answers=AnswerCounts(4, 4, 1, {"SCORE cross": 1}, 0.5),
        tolerance=Tolerance(0.1, "given"),
        examples={"Overloaded": "full"},
        most_in_flight=2,
    )


def test_both_definitions_side_by_side() -> None:
    result = result_of()

    assert result.from_due.count == result.from_send.count == 3
    assert result.from_due.max_ms == pytest.approx(300)
    assert result.from_send.max_ms == pytest.approx(100)
    assert result.lag.count == 5
    assert result.lag.max_ms == pytest.approx(200)


def test_rates_count_what_was_due() -> None:
    result = result_of()

    assert result.offered_per_s == 2  # six in 3 s
    assert result.answered_per_s == 1  # three
    assert result.goodput_per_s == pytest.approx(2 / 3)  # the late one is not good
    assert result.good_share == pytest.approx(2 / 6)
    assert result_of(slo_s=0.35).good_share == pytest.approx(3 / 6)


def test_outcomes_say_how_calls_ended() -> None:
    found = {each.name: each for each in result_of().outcomes}

    assert {name: each.calls for name, each in found.items()} == {
        "answered": 3,
        "Overloaded": 1,
        "wrong answer": 1,
        "not sent": 1,
    }
    assert next(iter(found)) == "answered", "the most frequent stands first"
    assert found["Overloaded"].from_send.max_ms == pytest.approx(5)
    assert found["Overloaded"].example == "full"
    assert found["not sent"].from_send.count == 0
    assert result_of().outcome("BadRequest") == 0


def test_intervals_are_by_intended_start() -> None:
    first, second, third = result_of().intervals(1.0)

    assert (first.due, first.good, first.failed, first.not_sent) == (2, 2, 0, 0)
    assert (second.start_s, second.due, second.answered) == (1, 2, 1)
    assert (second.good, second.failed) == (0, 1)
    assert second.from_due_p50_ms == pytest.approx(300)
    assert second.from_send_p99_ms == pytest.approx(100)
    assert second.lag_max_ms == pytest.approx(200)
    assert (third.failed, third.not_sent) == (1, 1)
    assert math.isnan(third.from_due_p99_ms)


def test_a_last_interval_may_be_short() -> None:
    assert [each.due for each in result_of().intervals(2.0)] == [4, 2]
    assert [each.due for each in result_of().intervals(100)] == [6]


def test_warnings_name_what_distorts_the_figures() -> None:
    lag, unsent, wrong = result_of().warnings

    assert "more than 200.0 ms late (SLO 150 ms)" in lag
    assert "1 calls were not sent: 7 were in flight" in unsent
    assert "1 answers are wrong: SCORE cross (1)" in wrong


def test_nothing_to_warn_of() -> None:
    records = Records(
        due_s=np.array([0.0, 1]),
        sent_s=np.array([0.0, 1.001]),
        done_s=np.array([0.1, 1.1]),
        outcomes=np.zeros(2, dtype=np.int16),
        names=("answered",),
    )

    assert result_of(records).warnings == ()


def test_json_has_every_figure_and_no_nan() -> None:
    document = json.loads(result_of().to_json())

    assert document["goodput_per_s"] == pytest.approx(2 / 3)
    assert document["latency_from_intended_start"]["max_ms"] == pytest.approx(300)
    assert document["latency_from_actual_send"]["max_ms"] == pytest.approx(100)
    (unsent,) = [each for each in document["outcomes"] if each["name"] == "not sent"]
    assert unsent["from_send"]["p50_ms"] is None
    assert document["options"]["slo_s"] == 0.15
    assert len(document["intervals"]) == 3
    assert document["answers"]["problems"] == {"SCORE cross": 1}
