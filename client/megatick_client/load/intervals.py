"""A replay second by second: what was due in each, and what became of it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from megatick_client.load.records import ANSWERED, NOT_SENT, Records
from megatick_client.load.schedule import FloatArray


@dataclass(frozen=True)
class Interval:
    """The calls that were due in one interval, whenever they were answered.

    Latencies are of answered calls, in milliseconds, NaN where there are none.

    Attributes:
        start_s: seconds from the schedule's beginning.
        due: calls.
        answered: of them, rightly, however late.
        good: of them, within the SLO.
        failed: refused, timed out, or answered wrongly.
        not_sent: forbidden by the bound on calls in flight.
        from_due_p50_ms: from the intended start.
        from_due_p99_ms: likewise.
        from_due_max_ms: likewise.
        from_send_p50_ms: from the actual send.
        from_send_p99_ms: likewise.
        from_send_max_ms: likewise.
        lag_max_ms: the latest send.
    """

    start_s: float
    due: int
    answered: int
    good: int
    failed: int
    not_sent: int
    from_due_p50_ms: float
    from_due_p99_ms: float
    from_due_max_ms: float
    from_send_p50_ms: float
    from_send_p99_ms: float
    from_send_max_ms: float
    lag_max_ms: float


def cut(
    records: Records, *, duration_s: float, interval_s: float
) -> list[npt.NDArray[np.intp]]:
    """Rows of the calls that were due in each interval; the last may be shorter."""
    edges = np.arange(1, math.ceil(duration_s / interval_s)) * interval_s
    bounds = np.searchsorted(records.due_s, edges, side="left")
    return np.split(np.arange(len(records)), bounds)


def intervals_of(
    records: Records, *, duration_s: float, interval_s: float, slo_s: float
) -> tuple[Interval, ...]:
    """Summarise each interval of a run."""
    answered, good = records.are(ANSWERED), records.good(slo_s)
    unsent = records.are(NOT_SENT)
    found = []
    for number, rows in enumerate(
        cut(records, duration_s=duration_s, interval_s=interval_s)
    ):
        right = rows[answered[rows]]
        due, right_now, not_sent = len(rows), len(right), int(unsent[rows].sum())
        found.append(
            Interval(
                number * interval_s,
                due=due,
                answered=right_now,
                good=int(good[rows].sum()),
                failed=due - right_now - not_sent,
                not_sent=not_sent,
                from_due_p50_ms=_ms(records.from_due_s[right], 0.5),
                from_due_p99_ms=_ms(records.from_due_s[right], 0.99),
                from_due_max_ms=_ms(records.from_due_s[right], 1),
                from_send_p50_ms=_ms(records.from_send_s[right], 0.5),
                from_send_p99_ms=_ms(records.from_send_s[right], 0.99),
                from_send_max_ms=_ms(records.from_send_s[right], 1),
                lag_max_ms=_ms(records.lag_s[rows[records.sent[rows]]], 1),
            )
        )
    return tuple(found)


def _ms(seconds: FloatArray, quantile: float) -> float:
    """A quantile that is one of the values, in milliseconds."""
    if not len(seconds):
        return math.nan
    return float(np.quantile(seconds, quantile, method="inverted_cdf")) * 1e3
