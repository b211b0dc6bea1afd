"""``replay``: an open-loop schedule against a server, measured from intended starts.

A closed-loop tester sends its next call when the last one is answered, so while a server
stands still it sends nothing, and the wait of everybody who would have called then is in
no figure (*coordinated omission*).  Here calls leave when they are due, and the clock of
each starts then, even if the sender itself is late.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from megatick_client.base import Headers
from megatick_client.deadlines import Deadline
from megatick_client.load.answers import AnswerBook, scores_of
from megatick_client.load.errors import ScheduleError
from megatick_client.load.records import ANSWERED, NOT_SENT, WRONG, Records
from megatick_client.load.result import ReplayOptions, ReplayResult
from megatick_client.load.schedule import Schedule
from megatick_client.load.sender import Sender, Sent, run
from megatick_client.load.tolerance import Tolerance, tolerance_of
from megatick_client.requests import Request
from megatick_client.tls import Tls
from megatick_client.wire import encode

Scores = Mapping[int, npt.NDArray[np.float64]]


def replay(
    schedule: Schedule,
    calls: Sequence[Request],
    endpoint: str,
    *,
    options: ReplayOptions | None = None,
    expected: Scores | None = None,
    tls: Tls | None = None,
    headers: Headers | None = None,
) -> ReplayResult:
    """Play a schedule against a KServe-v2 gRPC endpoint.

    Before the clock runs, the server is asked how far its scores may move, unless
    ``options.score_tolerance`` says.  Then the first ``options.references`` calls that the
    schedule will make are asked one after another; that connects, warms up, and gives the
    scores that the answers under load are compared with.

    Args:
        schedule: when calls are due.
        calls: what they ask, taken in turn, all of one model; see ``sentiment_calls``
            and ``market_view_calls``.
        endpoint: ``HOST:PORT`` of the gRPC port.
        options: how to send and judge; its defaults if None.
        expected: scores of a call's rows, float64, by the index of the call; where
            given, they are the references, and only one call is asked before.
        tls: how the server is trusted; None talks in the clear.
        headers: sent with every call, as a client's are.

    Returns:
        What was found, the failures of the calls included.

    Raises:
        ClientError: a call before the clock ran failed, or a file of ``tls`` or a header
            is no such thing.
        ScheduleError: an option is out of its range, or there are no calls.
    """
    options = options or ReplayOptions()
    _check(options, calls)
    sender = Sender(
        endpoint,
        model=calls[0].model.name,
        rows=calls[0].rows,
        timeout_s=options.timeout_s,
        connections=options.connections,
        tls=tls,
        headers=headers,
    )
    tolerance = (
        Tolerance(options.score_tolerance, "given")
        if options.score_tolerance is not None
        else tolerance_of(
            calls[0], endpoint, timeout_s=options.timeout_s, tls=tls, headers=headers
        )
    )
    return run(_replay(schedule, calls, sender, options, tolerance, expected))


async def _replay(
    schedule: Schedule,
    calls: Sequence[Request],
    sender: Sender,
    options: ReplayOptions,
    tolerance: Tolerance,
    expected: Scores | None,
) -> ReplayResult:
    calls = calls[: len(schedule)]
    timeout_us = max(1, round(options.timeout_s * 1e6))
    messages = [
        encode(each, timeout_us=timeout_us, priority=options.priority) for each in calls
    ]
    book = AnswerBook(calls)
    async with sender:
        alone = max(1, options.references if expected is None else 0)
        references = {
            number: scores_of(await sender.call(message))
            for number, message in enumerate(messages[:alone])
        }
        sent = await sender.play(
            schedule, messages, keep=book.keep, max_in_flight=options.max_in_flight
        )
    known = {number: each for number, each in references.items() if each is not None}
    if expected is not None or not options.references:
        known = dict(expected or {})
    answered = sent.answers >= 0
    counts, wrong = book.check(sent.answers[answered], known, tolerance=tolerance.value)
    return ReplayResult(
        sender.endpoint,
        calls[0].model.name,
        schedule.name,
        schedule.duration_s,
        calls[0].rows,
        sent.started_at_s,
        options,
        _records(schedule, sent, np.flatnonzero(answered)[wrong]),
        counts,
        tolerance,
        sent.examples,
        sent.most_in_flight,
    )


def _records(schedule: Schedule, sent: Sent, wrong: npt.NDArray[np.intp]) -> Records:
    """Name every call's outcome."""
    names = (ANSWERED, WRONG, NOT_SENT, *sent.examples)
    outcomes = np.full(len(schedule), names.index(NOT_SENT), dtype=np.int16)
    outcomes[sent.answers >= 0] = names.index(ANSWERED)
    outcomes[wrong] = names.index(WRONG)
    for row, name in sent.errors.items():
        outcomes[row] = names.index(name)
    return Records(schedule.starts_s, sent.sent_s, sent.done_s, outcomes, names)


def _check(options: ReplayOptions, calls: Sequence[Request]) -> None:
    """Refuse what cannot be sent or judged."""
    Deadline.after(options.timeout_s)
    if not calls:
        raise ScheduleError("calls", expected="at least one", found="none")
    at_least = {
        "most calls in flight": (options.max_in_flight, 1),
        "connections": (options.connections, 1),
        "references": (options.references, 0),
        "priority": (1 if options.priority is None else options.priority, 1),
    }
    for name, (value, least) in at_least.items():
        if value < least:
            raise ScheduleError(name, expected=f"at least {least}", found=value)
    for name, number in (
        ("SLO", options.slo_s),
        ("score tolerance", options.score_tolerance),
    ):
        if number is not None and not number > 0:
            raise ScheduleError(name, expected="a number > 0", found=number)
