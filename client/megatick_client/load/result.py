"""What a replay found: both latencies, goodput, outcomes, and whether the answers hold."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final

from megatick_client.load.answers import AnswerCounts
from megatick_client.load.histogram import Latency, latency_of
from megatick_client.load.intervals import Interval, intervals_of
from megatick_client.load.records import ANSWERED, NOT_SENT, WRONG, Records
from megatick_client.load.tolerance import Tolerance

LAG_SHARE: Final = 0.1
"""A sender whose p99 lag exceeds this share of the SLO measures itself as well."""


@dataclass(frozen=True)
class ReplayOptions:
    """How calls were sent and judged.

    Attributes:
        timeout_s: deadline of each call, from its actual send; the server is told it.
        slo_s: how soon after its intended start a call must be answered to be good.
        priority: the request parameter, 1 the highest; None for the server's default.
        max_in_flight: calls that may wait for an answer at once; one more is not sent.
        connections: TCP connections, taken in turn.
        references: calls at most that are asked alone first, to compare with.
        score_tolerance: how far a score under load may be from its reference; None for
            what the server states, or 1e-3 where it states nothing.
    """

    timeout_s: float = 5.0
    slo_s: float = 0.1
    priority: int | None = None
    max_in_flight: int = 10_000
    connections: int = 1
    references: int = 100
    score_tolerance: float | None = None


@dataclass(frozen=True)
class Outcome:
    """One way in which calls ended.

    Attributes:
        name: ``answered``, ``wrong answer``, ``not sent``, or a class of ``ClientError``.
        calls: how many.
        from_send: how long it took from the actual send; empty where not sent.
        example: the first message; empty where there is none.
    """

    name: str
    calls: int
    from_send: Latency
    example: str


@dataclass(frozen=True, eq=False)
class ReplayResult:
    """One schedule, played.

    Latencies are those of answered calls: a failure's is in its outcome, and lowers
    ``goodput_per_s`` as an answer that is too late does.

    Attributes:
        endpoint: ``HOST:PORT``.
        model: that was called.
        schedule: its name.
        duration_s: that it covers; rates are counted over it.
        rows_per_call: rows of the first call.
        started_at_s: in seconds since 1970.
        options: how calls were sent and judged.
        records: what became of every call.
        answers: what the check of the answers found.
        tolerance: how far a score was allowed to be from its reference, and who says so.
        examples: the first message of each class of error.
        most_in_flight: the most calls that waited for an answer at once.
    """

    endpoint: str
    model: str
    schedule: str
    duration_s: float
    rows_per_call: int
    started_at_s: float
    options: ReplayOptions
    records: Records
    answers: AnswerCounts
    tolerance: Tolerance
    examples: Mapping[str, str]
    most_in_flight: int

    @cached_property
    def from_due(self) -> Latency:
        """Latency of the answered calls from their intended starts."""
        return latency_of(self.records.from_due_s[self.records.are(ANSWERED)])

    @cached_property
    def from_send(self) -> Latency:
        """Latency of the answered calls from their actual sends."""
        return latency_of(self.records.from_send_s[self.records.are(ANSWERED)])

    @cached_property
    def lag(self) -> Latency:
        """How late calls were sent."""
        return latency_of(self.records.lag_s[self.records.sent])

    @property
    def offered_per_s(self) -> float:
        """Calls that were due, a second."""
        return len(self.records) / self.duration_s

    @property
    def answered_per_s(self) -> float:
        """Calls that were answered rightly, a second, however late."""
        return int(self.records.are(ANSWERED).sum()) / self.duration_s

    @property
    def goodput_per_s(self) -> float:
        """Calls that were answered rightly and within the SLO, a second."""
        return int(self.records.good(self.options.slo_s).sum()) / self.duration_s

    @property
    def good_share(self) -> float:
        """Of the calls that were due, the share that the SLO was kept for; in [0, 1]."""
        return float(self.records.good(self.options.slo_s).mean())

    @cached_property
    def outcomes(self) -> tuple[Outcome, ...]:
        """The ways in which calls ended, those that occurred, the most frequent first."""
        took = self.records.from_send_s
        found = []
        for name in self.records.names:
            mask = self.records.are(name)
            if calls := int(mask.sum()):
                some = latency_of(took[mask & self.records.sent])
                found.append(Outcome(name, calls, some, self.examples.get(name, "")))
        return tuple(sorted(found, key=lambda each: -each.calls))

    def outcome(self, name: str) -> int:
        """How many calls ended so."""
        return int(self.records.are(name).sum())

    def intervals(self, interval_s: float = 1.0) -> tuple[Interval, ...]:
        """Cut the run by the calls' intended starts."""
        return intervals_of(
            self.records,
            duration_s=self.duration_s,
            interval_s=interval_s,
            slo_s=self.options.slo_s,
        )

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader must know before he believes the figures; often nothing."""
        found = []
        if self.lag.p99_ms > LAG_SHARE * self.options.slo_s * 1e3:
            found.append(
                f"the sender fell behind: 1 % of the calls left more than "
                f"{self.lag.p99_ms:.1f} ms late (SLO {self.options.slo_s * 1e3:g} ms).  "
                "Latency from the intended start includes that.  Give the sender a "
                "machine of its own, fewer calls a second, or more rows a call."
            )
        if unsent := self.outcome(NOT_SENT):
            found.append(
                f"{unsent:,} calls were not sent: {self.options.max_in_flight:,} were in "
                "flight already.  Their waiting is in no percentile."
            )
        if wrong := self.outcome(WRONG):
            named = ", ".join(
                f"{name} ({n:,})" for name, n in self.answers.problems.items()
            )
            found.append(f"{wrong:,} answers are wrong: {named}")
        return tuple(found)

    def to_json(self) -> str:
        """Every figure, but not every call, as JSON."""
        document = {
            "endpoint": self.endpoint,
            "model": self.model,
            "schedule": self.schedule,
            "duration_s": self.duration_s,
            "rows_per_call": self.rows_per_call,
            "started_at_s": self.started_at_s,
            "options": asdict(self.options),
            "calls": len(self.records),
            "offered_per_s": self.offered_per_s,
            "answered_per_s": self.answered_per_s,
            "goodput_per_s": self.goodput_per_s,
            "good_share": self.good_share,
            "most_in_flight": self.most_in_flight,
            "latency_from_intended_start": asdict(self.from_due),
            "latency_from_actual_send": asdict(self.from_send),
            "send_lag": asdict(self.lag),
            "outcomes": [asdict(each) for each in self.outcomes],
            "answers": asdict(self.answers),
            "tolerance": asdict(self.tolerance),
            "warnings": self.warnings,
            "intervals": [asdict(each) for each in self.intervals()],
        }
        return json.dumps(without_nan(document), indent=2, allow_nan=False) + "\n"


def without_nan(value: Any) -> Any:
    """Put null where JSON has no number."""
    if isinstance(value, Mapping):
        return {key: without_nan(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
