"""Which rows run next, and which are not worth running: a queue with a clock by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from megatick_contract.admission import PRIORITIES, Priority
from megatick_server.errors import RequestDropped
from megatick_server.job import Job
from megatick_server.row_queue import HEADROOM, Limits, RowQueue, Turn

LIMITS = Limits(max_batch_tokens=20, max_backfill_tokens=8)


def job(*lengths: int, priority: Priority = "live", **more: Any) -> Job:
    rows = [np.zeros(length, np.int32) for length in lengths]
    return Job(rows, frozenset({"logits"}), priority, lambda *_: None, **more)


def queue_of(*jobs: Job, limits: Limits = LIMITS) -> RowQueue:
    queue = RowQueue(limits)
    for each in jobs:
        queue.add(each, now_s=0.0)
    return queue


def lengths(turn: Turn) -> list[list[int]]:
    return [[len(job.rows[row]) for row in rows] for job, rows in turn.run]


def all_turns(queue: RowQueue) -> list[list[list[int]]]:
    turns = []
    while len(queue):
        turns.append(lengths(queue.next_turn(0.0)))
    return turns


def test_rows_of_many_requests_run_together_within_the_token_budget() -> None:
    queue = queue_of(job(5), job(6, 6), job(4))

    # 5 + 6 + 6 = 17, and 4 more would be 21 of 20.
    assert all_turns(queue) == [[[5], [6, 6]], [[4]]]


def test_a_run_is_filled_with_what_came_later() -> None:
    """An engine that sees one length again and again need not prepare itself anew."""
    queue = queue_of(job(7), job(6, 6), job(2), job(7))

    # 7 + 6 + 6 is 19 of 20: the 2 does not fit, the last 7 does in place of a 6.
    assert all_turns(queue) == [[[7], [6], [7]], [[6], [2]]]


def test_a_row_that_does_not_fill_the_run_is_in_the_next_one() -> None:
    queue = queue_of(job(7), job(6), *(job(13) for _ in range(4)))

    turns = all_turns(queue)

    assert turns[:2] == [[[7], [13]], [[6], [13]]]


def test_long_rows_run_together_past_short_ones_between_them() -> None:
    """The 18 and the eleven would fill the run, with 12 x 18 slots in attention."""
    queue = queue_of(job(18), job(*[2] * 11), job(18), limits=Limits(40, 8))

    assert all_turns(queue) == [[[18], [2, 2], [18]], [[2] * 9]]


def test_a_large_request_is_looked_at_only_as_far_as_a_run_may_reach() -> None:
    queue = queue_of(job(*[7] * 6, 6, *[7] * 1000))

    # Twice 20 tokens are the first six; the 6 with which 7 + 7 would be 20 is beyond.
    assert lengths(queue.next_turn(0.0)) == [[7, 7]]
    assert lengths(queue.next_turn(0.0)) == [[7, 7, 6]]


def test_a_run_is_filled_within_the_first_deadline_in_it() -> None:
    """A full run of 20 tokens takes 2 s x 1.4, whatever it is chosen from."""

    def run_beside_four(last_expires_s: float) -> list[list[int]]:
        jobs = [job(6, expires_s=2.9) for _ in range(4)]
        queue = queue_of(*jobs, job(2, expires_s=last_expires_s))
        return lengths(queue.next_turn(0.0, tokens_per_s=10.0))

    assert run_beside_four(2.9) == [[6], [6], [6], [2]]
    assert run_beside_four(2.7) == [[6], [6], [6]]


def test_a_long_row_does_not_keep_the_short_ones_before_it_waiting() -> None:
    queue = queue_of(job(2), job(18), job(2), limits=Limits(40, 8))

    # Together with the 18, attention would see 3 x 18 slots for 22 tokens.
    assert all_turns(queue) == [[[2], [2]], [[18]]]


def test_a_request_larger_than_the_budget_is_run_in_parts_and_order() -> None:
    whole = job(*[10] * 5)

    turns = [
        queue.next_turn(0.0).run[0][1] for queue in [queue_of(whole)] for _ in range(3)
    ]

    assert turns == [[0, 1], [2, 3], [4]]


def test_a_large_request_lets_others_run_between_its_runs() -> None:
    """Until two runs of 20 tokens are enough for what is left of it."""
    queue = queue_of(job(*[10] * 8), job(5), job(*[9] * 6))

    before, between = [[[10, 10]]], [[[5], [9]], [[9, 9]]]
    after = [*[[[9], [10]]] * 3, [[10, 10]], [[10]]]
    assert all_turns(queue) == [*before, *between, *after]


def test_a_large_request_that_would_be_late_for_it_gives_way_to_nobody() -> None:
    """What waits then takes, with the run that begins, 9.5 s x 1.4, ten tokens a second."""

    def second_run(expires_s: float) -> list[list[int]]:
        queue = queue_of(job(*[10] * 8, expires_s=expires_s), job(15))
        queue.next_turn(0.0, tokens_per_s=10.0)
        return lengths(queue.next_turn(0.0, tokens_per_s=10.0))

    assert second_run(HEADROOM * 9.5 + 0.001) == [[15]]
    assert second_run(HEADROOM * 9.5 - 0.001) == [[10, 10]]


def test_backfill_does_not_make_a_large_live_request_late() -> None:
    """With the 70 tokens of backfill that wait it would take 15.5 s x 1.4."""
    large, backfill = job(*[10] * 8, expires_s=14.0), job(70, priority="backfill")
    queue = queue_of(large, backfill, job(15))
    queue.next_turn(0.0, tokens_per_s=10.0)

    assert lengths(queue.next_turn(0.0, tokens_per_s=10.0)) == [[15]]


def test_a_large_request_keeps_its_place_until_its_own_turn() -> None:
    """Or one row of it, which filled another's run, would cost it a place each time."""
    queue = queue_of(job(15), job(*[5] * 20), job(8))

    assert all_turns(queue)[:3] == [[[15], [5]], [[5, 5, 5, 5]], [[8], [5, 5]]]


def test_large_backfill_gives_way_if_it_has_no_deadline() -> None:
    """Live requests that are to come may take all of the time that seems to be left."""

    def second_run(expires_s: float) -> list[list[int]]:
        large = job(*[4] * 8, priority="backfill", expires_s=expires_s)
        queue = queue_of(large, job(7, priority="backfill"))
        queue.next_turn(0.0)
        return lengths(queue.next_turn(0.0))

    assert second_run(float("inf")) == [[7]]
    assert second_run(1e9) == [[4, 4]]


def test_a_large_request_gives_way_to_as_many_as_it_has_time_for() -> None:
    """After its first run to the 5, not to what came later: 28.5 s x 1.4 is too much.

    The 5 was told so: had it to give way to all or to none, who comes last would make him
    late.
    """
    queue = queue_of(job(*[10] * 8, expires_s=HEADROOM * 10.5), job(5), job(*[9] * 20))

    turns = [lengths(queue.next_turn(0.0, tokens_per_s=10.0)) for _ in range(3)]

    assert turns == [[[10, 10]], [[5], [10]], [[10, 10]]]


def test_two_large_requests_give_way_to_each_other_and_to_whom_both_have_time_for() -> None:
    """The one without a deadline is done last, and of it two runs of 20 count before the 5.

    With the run that begins and 60 of the first that makes 12.5 s x 1.4, which it has.
    """
    hurried = job(*[10] * 8, expires_s=HEADROOM * 12.6)
    queue = queue_of(hurried, job(*[12] * 10), job(5))

    turns = [lengths(queue.next_turn(0.0, tokens_per_s=10.0)) for _ in range(3)]

    assert turns == [[[10, 10]], [[12]], [[5], [10]]]


def test_a_large_request_that_fills_the_runs_of_others_gives_way_all_the_same() -> None:
    """13 fives are more than three runs of 20, the 12 after the first run are not."""
    queue = queue_of(job(15), job(*[5] * 13), job(8))

    assert all_turns(queue)[:3] == [[[15], [5]], [[5, 5, 5, 5]], [[8], [5, 5]]]


def test_of_a_large_request_two_runs_count_as_ahead_of_whom_it_gives_way_to() -> None:
    """Its own, and what fills the runs of others.  More than three it must need."""
    patient, large = job(*[10] * 7), job(*[10] * 8, expires_s=60.0)

    assert queue_of(patient).tokens_ahead("live", done_s=1e9) == 40
    assert queue_of(job(*[10] * 6)).tokens_ahead("live", done_s=1e9) == 60
    assert queue_of(large).tokens_ahead("live", done_s=60.0) == 40
    assert queue_of(large).tokens_ahead("live", done_s=60.1) == 80
    assert queue_of(job(50, 40)).tokens_ahead("live") == 90
    assert queue_of(job(50, 50)).tokens_ahead("live") == 70
    assert queue_of(patient).waiting("live") == (1, 70)
    # It gives way to live ones alone.
    assert queue_of(patient).tokens_ahead("backfill") == 70


@pytest.mark.parametrize(
    ("expires_s", "ahead"),
    [(HEADROOM * 10.5 + 0.001, 40), (HEADROOM * 10.5 - 0.001, 80)],
    ids=["all-and-a-run-within-its-time", "not"],
)
def test_whoever_comes_behind_a_large_request_waits_only_for_what_runs_before_him(
    expires_s: float, ahead: int
) -> None:
    """Its 80 tokens, his 5 and a run of 20 take 10.5 s x 1.4 at ten tokens a second."""
    queue = queue_of(job(*[10] * 8, expires_s=expires_s))
    wait_s = HEADROOM * (ahead + 5) / 10

    queue.check("live", 0.0, timeout_s=wait_s + 0.001, tokens_per_s=10.0, tokens=5)
    with pytest.raises(RequestDropped, match="longer than"):
        queue.check("live", 0.0, timeout_s=wait_s - 0.001, tokens_per_s=10.0, tokens=5)


@pytest.mark.parametrize("seed", range(3))
def test_whoever_is_let_in_is_answered_in_time(seed: int) -> None:
    """More headlines than a steady engine can do, among large requests of all sorts."""
    random, tokens_per_s, ends_s = np.random.default_rng(seed), 1000.0, 0.0
    queue, let_in, answered = RowQueue(Limits(256, 64)), list[Job](), set[Job]()
    arrivals = np.sort(random.uniform(0.0, 60.0, 2000)).tolist()
    turn = Turn([], [])
    while arrivals or len(queue) or turn.run:
        if turn.run and (not arrivals or ends_s <= arrivals[0]):
            answered.update(each for each, _ in turn.run if not each.waiting)
            assert all(each.expires_s >= ends_s for each, _ in turn.run)
            now_s = ends_s
        else:
            now_s = arrivals.pop(0)
            large = random.random() < 0.003
            rows, timeout_s = (
                (240, (30.0, np.inf)[random.integers(2)]) if large else (1, 3.0)
            )
            each = job(
                *random.integers(5, 45, rows).tolist(),
                expires_s=now_s + timeout_s * random.uniform(0.1, 1.0),
            )
            try:
                queue.check(
                    "live",
                    now_s,
                    timeout_s=each.expires_s - now_s,
                    tokens_per_s=tokens_per_s,
                    tokens=each.waiting_tokens,
                    busy_s=max(0.0, ends_s - now_s),
                )
            except RequestDropped:
                continue
            queue.add(each, now_s)
            let_in.append(each)
            if turn.run:
                continue
        turn = queue.next_turn(now_s, tokens_per_s=tokens_per_s)
        assert turn.dropped == []
        taken = sum(len(each.rows[row]) for each, rows in turn.run for row in rows)
        ends_s = now_s + taken / tokens_per_s

    assert answered == set(let_in)
    assert 500 < len(let_in) < 1900


def test_a_row_longer_than_the_budget_runs_alone() -> None:
    assert all_turns(queue_of(job(50), job(50))) == [[[50]], [[50]]]


def test_live_rows_overtake_backfill_and_do_not_share_its_run() -> None:
    queue = queue_of(job(4, priority="backfill"), job(5))

    assert all_turns(queue) == [[[5]], [[4]]]


def test_backfill_runs_in_small_batches() -> None:
    queue = queue_of(job(4, 4, 4, 4, priority="backfill"))

    assert all_turns(queue) == [[[4, 4]], [[4, 4]]]


def test_a_started_backfill_request_still_lets_live_ones_pass() -> None:
    queue = queue_of(job(4, 4, 4, 4, priority="backfill"))
    queue.next_turn(0.0)
    queue.add(job(7), 0.0)

    assert all_turns(queue) == [[[7]], [[4, 4]]]


def test_what_expired_or_was_cancelled_is_dropped_and_not_run() -> None:
    late, gone, good = job(3, expires_s=1.0), job(3, cancelled=lambda: True), job(3)
    queue = queue_of(late, gone, good)

    turn = queue.next_turn(now_s=1.0)

    assert [each for each, _ in turn.run] == [good]
    assert [(each, str(reason)) for each, reason in turn.dropped] == [
        (late, "Request timeout expired: it waited 1 s for its turn"),
        (gone, "Request timeout expired: its caller has cancelled it"),
    ]
    assert len(queue) == 0
    assert queue.tokens_ahead("backfill") == 0


def test_a_request_that_expires_between_its_parts_is_dropped() -> None:
    queue = queue_of(job(*[10] * 4, expires_s=1.0))

    assert lengths(queue.next_turn(0.5)) == [[10, 10]]
    assert len(queue.next_turn(1.5).dropped) == 1
    assert queue.tokens_ahead("live") == 0


@pytest.mark.parametrize(
    ("priority", "ahead"), [("live", 12), ("backfill", 19)], ids=["live", "backfill"]
)
def test_a_request_that_could_not_be_in_time_is_turned_away(
    priority: Priority, ahead: int
) -> None:
    """By the run that goes on, the tokens ahead and its own, with headroom for these."""
    queue = queue_of(job(12), job(7, priority="backfill"))
    expected_s = 2.0 + HEADROOM * (ahead + 3) / 10

    def check(timeout_s: float) -> None:
        queue.check(
            priority, 0.0, timeout_s=timeout_s, tokens_per_s=10.0, tokens=3, busy_s=2.0
        )

    check(expected_s + 0.001)
    with pytest.raises(RequestDropped, match=f"about {expected_s:.3g} s, longer than"):
        check(expected_s - 0.001)


def test_times_of_milliseconds_are_told_apart() -> None:
    """70 tokens of which 1000 take a second: 1.4 x 0.07 s, where 0.05 s are left."""
    queue = queue_of(job(60))

    with pytest.raises(RequestDropped, match=r"about 0\.098 s, longer .* 0\.05 s that"):
        queue.check("live", 0.0, timeout_s=0.05, tokens_per_s=1000.0, tokens=10)


def test_whoever_finds_the_engine_idle_is_let_in_at_any_speed() -> None:
    """Or a speed that was once too low could never be corrected."""
    queue = RowQueue(LIMITS)

    queue.check("live", 0.0, timeout_s=0.1, tokens_per_s=1.0, tokens=1000)
    with pytest.raises(RequestDropped):
        queue.check("live", 0.0, timeout_s=0.1, tokens_per_s=1.0, tokens=1000, busy_s=0.01)


def test_a_run_ends_before_the_first_deadline_in_it() -> None:
    """At 10 tokens a second, 5 and 4 tokens take 0.9 s x 1.4 of the 1.3 s that are left."""

    def run_at(tokens_per_s: float) -> list[list[int]]:
        jobs = [job(length, expires_s=1.3) for length in (5, 4, 4)]
        return lengths(queue_of(*jobs).next_turn(0.0, tokens_per_s=tokens_per_s))

    assert run_at(10.0) == [[5], [4]]
    assert run_at(1e6) == [[5], [4], [4]]
    # A patient one that is older is not made to wait for it, nor it for the patient one.
    mixed = queue_of(job(5), job(4, expires_s=0.7), job(4))
    assert lengths(mixed.next_turn(0.0, tokens_per_s=10.0)) == [[5]]


def test_what_cannot_be_in_time_makes_room_for_what_can() -> None:
    late, good = job(15, expires_s=1.0), job(5, expires_s=1.0)

    turn = queue_of(late, good).next_turn(0.0, tokens_per_s=10.0)

    assert [each for each, _ in turn.dropped] == [late]
    assert [each for each, _ in turn.run] == [good]
    # Alone it runs: nobody else wants the engine, and the speed may be wrong.
    alone = queue_of(job(15, expires_s=1.0)).next_turn(0.0, tokens_per_s=10.0)
    assert lengths(alone) == [[15]]


def test_a_request_without_a_deadline_waits_for_as_long_as_it_takes() -> None:
    queue_of(job(10_000)).check("live", 0.0, timeout_s=float("inf"), tokens_per_s=1.0)


def test_a_full_queue_takes_no_more() -> None:
    queue = queue_of(job(1), job(1), limits=Limits(20, 8, max_jobs=2))

    with pytest.raises(RequestDropped, match="Exceeds maximum queue size: 2 requests"):
        queue.check("live", 0.0, timeout_s=60.0, tokens_per_s=1e6)


def test_no_row_is_lost_or_run_twice_or_beyond_the_bounds() -> None:
    random = np.random.default_rng(7)
    sizes = [random.integers(1, 15, random.integers(1, 9)).tolist() for _ in range(60)]
    jobs = [
        job(*each, priority=("live", "backfill")[n % 2]) for n, each in enumerate(sizes)
    ]
    queue = queue_of(*jobs, limits=Limits(max_batch_tokens=60, max_backfill_tokens=20))
    ran: list[tuple[int, int]] = []
    while len(queue):
        run = queue.next_turn(0.0).run
        ran += [(jobs.index(each), row) for each, rows in run for row in rows]
        taken = [len(each.rows[row]) for each, rows in run for row in rows]
        assert sum(taken) <= (60 if run[0][0].priority == "live" else 20)
        assert len(taken) * max(taken) <= 2 * sum(taken)

    assert sorted(ran) == [
        (n, row) for n, each in enumerate(sizes) for row in range(len(each))
    ]
    assert queue.tokens_ahead("backfill") == 0


@pytest.mark.parametrize("seed", range(5))
def test_whatever_comes_and_goes_each_row_runs_once_and_the_counts_are_right(
    seed: int,
) -> None:
    random = np.random.default_rng(seed)
    queue, now_s, left = RowQueue(LIMITS), 0.0, dict[Job, set[int]]()
    gone: set[Job] = set()
    for _ in range(400):
        now_s += random.exponential(0.5)
        if random.random() < 0.4:
            each = job(
                *random.integers(1, 30, random.integers(1, 20)).tolist(),
                priority=("live", "backfill")[random.integers(2)],
                expires_s=now_s
                + (np.inf, *random.exponential(20.0, 2))[random.integers(3)],
            )
            each.cancelled = lambda each=each: each in gone  # type: ignore[misc]
            left[each] = set(range(len(each.rows)))
            queue.add(each, now_s)
        elif random.random() < 0.1 and left:
            gone.add(list(left)[random.integers(len(left))])
        elif random.random() < 0.1 and left:
            each = list(left)[random.integers(len(left))]
            queue.remove(each)
            del left[each]
        else:
            turn = queue.next_turn(now_s, tokens_per_s=20.0)
            for each, _ in turn.dropped:
                del left[each]
            for each, rows in turn.run:
                assert left[each] >= set(rows)
                left[each] -= set(rows)
                if not left[each]:
                    del left[each]
        again = RowQueue(LIMITS)
        for each in left:
            assert set(each.waiting) == left[each]
            again.add(each, each.submitted_s)
        assert len(queue) == len(left)
        for lane in PRIORITIES:
            assert queue.waiting(lane) == again.waiting(lane)
            # One that was large once gives way once more.
            assert queue.tokens_ahead(lane) <= again.tokens_ahead(lane)
    while len(queue):
        turn = queue.next_turn(np.inf)
        assert turn.run or turn.dropped


def test_a_jobs_results_are_in_its_rows_order() -> None:
    whole = job(3, 4, 5)

    def outputs(*values: float) -> dict[str, Any]:
        return {"logits": np.array(values, np.float32)[:, None], "other": np.zeros(9)}

    parts: Sequence[tuple[list[int], dict[str, Any]]] = [
        ([2, 0], outputs(5.0, 3.0)),
        ([1], outputs(4.0)),
    ]
    for rows, given in parts:
        assert not whole.done
        whole.take(rows, given)
    assert whole.done
    assert {name: array.tolist() for name, array in whole.results.items()} == {
        "logits": [[3.0], [4.0], [5.0]]
    }


def test_a_row_that_is_known_already_does_not_run() -> None:
    half_known = job(3, 4)
    half_known.fill(0, {"logits": np.array([7.0], np.float32)})
    queue = queue_of(half_known)

    assert queue.tokens_ahead("live") == 4
    assert queue.next_turn(0.0).run == [(half_known, [1])]
    half_known.take([1], {"logits": np.array([[8.0]], np.float32)})
    assert half_known.done
    assert half_known.results["logits"].tolist() == [[7.0], [8.0]]
