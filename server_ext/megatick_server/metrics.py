"""What a server tells Prometheus: every metric, its unit, its labels and its buckets.

Each series carries the label ``model`` too, the Triton model whose step counted it.
``docs/monitoring.md`` is this page for people.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, get_args

import numpy as np

from megatick_contract.admission import PRIORITIES
from megatick_contract.models import STAGES
from megatick_contract.text import LABELS
from megatick_server.errors import DropCause


@dataclass(frozen=True, eq=False)  # each is itself alone, and quick to look up
class Metric:
    """What counters, gauges and histograms have in common.

    Attributes:
        name: as Prometheus sees it; it ends with the unit.
        meaning: one line.
        label: name of the one label that tells its series apart, "" for none.
        values: all that the label may be; empty where it may be anything.
    """

    name: str
    meaning: str
    label: str = ""
    values: tuple[str, ...] = ("",)


@dataclass(frozen=True, eq=False)
class Counter(Metric):
    """It only grows, until the server starts again."""


@dataclass(frozen=True, eq=False)
class Gauge(Metric):
    """It is what it is at the moment."""


@dataclass(frozen=True, eq=False)
class Histogram(Metric):
    """How often values fell into which bucket.

    Attributes:
        bounds: upper bounds of its buckets, inclusive and ascending; the last bucket has
            none.
    """

    bounds: tuple[float, ...] = ()


_SECONDS: Final = tuple(
    float(f"{digit}e{power}") for power in range(-5, 2) for digit in (1, 2.5, 5)
)
"""10 µs to 50 s: a small step takes tens of microseconds, an overloaded queue seconds."""
_POWERS_OF_TWO: Final = tuple(float(2**power) for power in range(15))
_SCORE_BOUNDS: Final = tuple(float(bound) for bound in np.linspace(-0.8, 1, 10).round(1))
"""Ten buckets of 0.2, which the drift in ``deploy/monitoring/rules.yml`` counts on."""

REQUESTS: Final = Counter("megatick_requests_total", "Requests answered, refusals included")
REJECTIONS: Final = Counter(
    "megatick_rejections_total",
    "Requests that were turned away: invalid ones, and those with no room or no time",
    "reason",
    ("invalid", *get_args(DropCause)),
)
FAILURES: Final = Counter(
    "megatick_failures_total", "Requests that failed through no fault of their caller"
)
REQUEST_SECONDS: Final = Histogram(
    "megatick_request_seconds",
    "From a request's arrival at the step to its answer, if it was computed",
    "lane",
    PRIORITIES,
    _SECONDS,
)
STAGE_SECONDS: Final = Histogram(
    "megatick_stage_seconds",
    "What a request spent in each stage, the stages of STAGE_US",
    "stage",
    STAGES,
    _SECONDS,
)
BATCH_SECONDS: Final = Histogram(
    "megatick_batch_seconds",
    "One run of the language model; the rate of its sum is how busy the engine is",
    bounds=_SECONDS,
)
BATCH_TOKENS: Final = Histogram(
    "megatick_batch_tokens", "Tokens in one run", bounds=_POWERS_OF_TWO
)
BATCH_ROWS: Final = Histogram(
    "megatick_batch_rows", "Texts in one run", bounds=_POWERS_OF_TWO
)
PADDING_TOKENS: Final = Counter(
    "megatick_padding_tokens_total",
    "Tokens of no text that ran through the whole network: 0, since batches are packed",
)
ATTENTION_PADDING_TOKENS: Final = Counter(
    "megatick_attention_padding_tokens_total",
    "Tokens of no text in attention alone, at most as many as there are real ones",
)
TRUNCATED_TEXTS: Final = Counter(
    "megatick_truncations_total", "Texts that were longer than the model's window"
)
ANSWERS: Final = Counter(
    "megatick_labels_total", "Texts scored, by their likeliest class", "label", LABELS
)
SCORES: Final = Histogram(
    "megatick_score", "Scores, P(positive) - P(negative), in [-1, 1]", bounds=_SCORE_BOUNDS
)
CACHE_HITS: Final = Counter(
    "megatick_cache_hits_total", "Texts whose answer was kept from before"
)
CACHE_MISSES: Final = Counter(
    "megatick_cache_misses_total", "Texts that were looked up in vain"
)
WAITING_REQUESTS: Final = Gauge(
    "megatick_waiting_requests",
    "Requests with texts that wait for the language model",
    "lane",
    PRIORITIES,
)
WAITING_TOKENS: Final = Gauge(
    "megatick_waiting_tokens", "Tokens of those texts", "lane", PRIORITIES
)
AUDIT_RECORDS: Final = Counter(
    "megatick_audit_records_total", "Replies recorded in the audit log"
)
AUDIT_LOST: Final = Counter(
    "megatick_audit_lost_total",
    "Replies that could not be recorded: refused, or given without a record",
    "reply",
    ("refused", "given"),
)
AUDIT_WAITING: Final = Gauge(
    "megatick_audit_waiting_records",
    "Records that wait to be written, or are being written",
)
AUDIT_WRITE_SECONDS: Final = Histogram(
    "megatick_audit_write_seconds",
    "One writing of the records that waited together, the disk's sync included where due",
    bounds=_SECONDS,
)
MODEL_LOADED: Final = Gauge(
    "megatick_model_loaded_timestamp_seconds",
    "When what has that digest was loaded, in Unix time: the latest is what is served",
    "digest",
    (),
)
TOLD: Final = Gauge(
    "megatick_told_timestamp_seconds",
    "When the step last told its metrics, in Unix time: old where its process has died",
)

METRICS: Final[tuple[Metric, ...]] = (
    REQUESTS,
    REJECTIONS,
    FAILURES,
    REQUEST_SECONDS,
    STAGE_SECONDS,
    BATCH_SECONDS,
    BATCH_TOKENS,
    BATCH_ROWS,
    PADDING_TOKENS,
    ATTENTION_PADDING_TOKENS,
    TRUNCATED_TEXTS,
    ANSWERS,
    SCORES,
    CACHE_HITS,
    CACHE_MISSES,
    WAITING_REQUESTS,
    WAITING_TOKENS,
    AUDIT_RECORDS,
    AUDIT_LOST,
    AUDIT_WAITING,
    AUDIT_WRITE_SECONDS,
    MODEL_LOADED,
    TOLD,
)
