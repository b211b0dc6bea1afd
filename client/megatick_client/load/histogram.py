"""Latencies as an HdrHistogram: 1 µs to an hour, three digits everywhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogWriter

from megatick_client.load.schedule import FloatArray

LOWEST_NS: Final = 1_000
HIGHEST_NS: Final = 3_600_000_000_000
DIGITS: Final = 3
"""A value is off by at most 0.1 %.  Nanoseconds are what the format's other readers
expect.  Source: HdrHistogram's ``HistogramLogProcessor``, outputValueUnitRatio 1e6."""

PERCENTILES: Final = (50.0, 90.0, 99.0, 99.9)


@dataclass(frozen=True)
class Latency:
    """Percentiles of some latencies, in milliseconds; NaN where there are none.

    Attributes:
        count: how many latencies.
        mean_ms: their mean.
        p50_ms: half of them were at most this.
        p90_ms: likewise 90 %.
        p99_ms: likewise 99 %.
        p99_9_ms: likewise 99.9 %.
        max_ms: the largest.
    """

    count: int
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    p99_9_ms: float
    max_ms: float


def histogram_of(seconds: FloatArray) -> HdrHistogram:
    """Count latencies, float64 [N] in seconds, each in [0, 1 h]."""
    histogram = HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS)
    values, counts = np.unique(np.rint(seconds * 1e6).astype(np.int64), return_counts=True)
    for microseconds, count in zip(values.tolist(), counts.tolist(), strict=True):
        histogram.record_value(min(microseconds * 1000, HIGHEST_NS), count)
    return histogram


def latency_of(seconds: FloatArray) -> Latency:
    """Summarise latencies, float64 [N] in seconds."""
    if not len(seconds):
        return Latency(0, *(float("nan"),) * 6)
    most_ms = float(seconds.max()) * 1e3
    values = histogram_of(seconds).get_percentile_to_value_dict(PERCENTILES)
    # A histogram answers the end of a bin, which may lie beyond the largest value.
    p50, p90, p99, p99_9 = (min(values[each] / 1e6, most_ms) for each in PERCENTILES)
    mean_ms = float(seconds.mean()) * 1e3
    return Latency(len(seconds), mean_ms, p50, p90, p99, p99_9, most_ms)


def percentile_curve(seconds: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Latency against percentile, denser towards the tail, as HdrHistogram plots it.

    Returns:
        Percentiles in [0, 100], and the latencies there in milliseconds; both float64,
        of one shape, empty where there are no latencies.
    """
    ticks = histogram_of(seconds).get_percentile_iterator(5) if len(seconds) else ()
    points = [(each.percentile_level_iterated_to, each.value_iterated_to) for each in ticks]
    curve = np.array(points, dtype=np.float64).reshape(-1, 2)
    return curve[:, 0], curve[:, 1] / 1e6


def write_log(
    path: Path,
    intervals: Sequence[FloatArray],
    *,
    interval_s: float,
    started_s: float,
    comment: str,
) -> None:
    """Write an ``.hlog`` file: one histogram an interval, for HdrHistogram's own tools.

    Args:
        path: to write.
        intervals: latencies of each interval, float64, in seconds.
        interval_s: how long each lasts.
        started_s: when the first began, in seconds since 1970.
        comment: one line.
    """
    with path.open("w", encoding="utf-8") as file:
        log: Any = HistogramLogWriter(file)
        log.output_comment(f"[{comment}]")
        log.output_log_format_version()
        log.output_comment(f"[StartTime: {started_s:.3f} (seconds since epoch)]")
        log.output_base_time(started_s * 1e3)
        log.output_legend()
        for number, seconds in enumerate(intervals):
            histogram = histogram_of(seconds)
            histogram.set_start_time_stamp((started_s + number * interval_s) * 1e3)
            histogram.set_end_time_stamp((started_s + (number + 1) * interval_s) * 1e3)
            log.base_time = started_s * 1e3
            log.output_interval_histogram(histogram)
