"""Percentiles by arithmetic, and logs that HdrHistogram's own reader reads back."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hdrh.log import HistogramLogReader

from megatick_client.load.histogram import (
    DIGITS,
    HIGHEST_NS,
    LOWEST_NS,
    latency_of,
    percentile_curve,
    write_log,
)

PRECISION = 2e-3
"""Three digits: 0.1 % on either side."""


def test_percentiles_of_one_to_a_thousand_milliseconds() -> None:
    found = latency_of(np.random.default_rng(0).permutation(np.arange(1, 1001) / 1e3))

    assert found.count == 1000
    assert found.mean_ms == pytest.approx(500.5)
    assert found.p50_ms == pytest.approx(500, rel=PRECISION)
    assert found.p90_ms == pytest.approx(900, rel=PRECISION)
    assert found.p99_ms == pytest.approx(990, rel=PRECISION)
    assert found.p99_9_ms == pytest.approx(999, rel=PRECISION)
    assert found.max_ms == pytest.approx(1000, rel=1e-12)


@pytest.mark.parametrize("seconds", [2e-6, 1.2345e-3, 0.1, 3.3, 1800.0])
def test_three_digits_from_microseconds_to_an_hour(seconds: float) -> None:
    found = latency_of(np.full(10, seconds))

    assert found.p50_ms == pytest.approx(seconds * 1e3, rel=PRECISION, abs=1e-3)
    assert found.p99_9_ms <= found.max_ms


def test_none() -> None:
    found = latency_of(np.array([]))

    assert found.count == 0
    assert math.isnan(found.p50_ms)
    assert math.isnan(found.max_ms)


def test_the_curve_rises_to_the_largest() -> None:
    percentiles, ms = percentile_curve(np.arange(1, 101) / 1e3)

    assert (np.diff(percentiles) > 0).all()
    assert (np.diff(ms) >= 0).all()
    assert percentiles[-1] == 100
    assert ms[-1] == pytest.approx(100, rel=PRECISION)
    assert np.interp(50, percentiles, ms) == pytest.approx(50, rel=0.02)
    assert percentile_curve(np.array([]))[0].shape == (0,)


def test_a_log_is_read_back(tmp_path: Path) -> None:
    path = tmp_path / "a.hlog"
    intervals = [np.array([0.001, 0.002]), np.array([]), np.full(5, 0.004)]

    write_log(path, intervals, interval_s=1, started_s=1_700_000_000.5, comment="made here")

    assert path.read_text().startswith(
        "#[made here]\n#[Histogram log format version 1.2]\n"
    )
    reader = HistogramLogReader(str(path), HdrHistogram(LOWEST_NS, HIGHEST_NS, DIGITS))
    found = []
    while (histogram := reader.get_next_interval_histogram()) is not None:
        found.append(histogram)
    reader.close()
    assert [each.get_total_count() for each in found] == [2, 0, 5]
    assert found[0].get_value_at_percentile(50) == pytest.approx(1e6, rel=PRECISION)
    assert found[2].get_value_at_percentile(50) == pytest.approx(4e6, rel=PRECISION)
    assert reader.get_start_time_sec() == 1_700_000_000.5
    starts_s = [each.get_start_time_stamp() / 1e3 for each in found]
    assert starts_s == pytest.approx([1_700_000_000.5, 1_700_000_001.5, 1_700_000_002.5])
