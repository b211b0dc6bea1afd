"""What a process has counted, as Prometheus would have it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from megatick_server.meters import Meters
from megatick_server.metrics import METRICS, Counter, Gauge, Histogram

APPLES = Counter("apples_total", "", "colour", ("red", "green"))
PEARS = Counter("pears_total", "")
DEPTH = Gauge("depth_metres", "")
WAIT = Histogram("wait_seconds", "", bounds=(0.1, 0.5, 1.0))
SCORE = Histogram("score", "", bounds=(-0.5, 0.0, 0.5))


@pytest.fixture
def meters() -> Meters:
    return Meters("orchard")


def told(meters: Meters, start: str) -> dict[str, float]:
    """Name and labels of the series that begin so, as a scrape would write them."""
    return {
        each.name + "".join(f" {name}={value}" for name, value in each.labels): total
        for each, total in meters.totals().items()
        if each.name.startswith(start)
    }


def test_a_counter_has_a_series_a_label_and_the_models_name(meters: Meters) -> None:
    meters.mention(APPLES)
    meters.add(APPLES, label="red")
    meters.add(APPLES, 2, "red")

    assert told(meters, "apples") == {
        "apples_total model=orchard colour=red": 3,
        "apples_total model=orchard colour=green": 0,
    }


def test_buckets_are_cumulative_and_include_their_bound(meters: Meters) -> None:
    for value in (0.05, 0.1, 0.3, 7.0):
        meters.observe(WAIT, value)

    assert told(meters, "wait") == {
        "wait_seconds_bucket model=orchard le=0.1": 2,
        "wait_seconds_bucket model=orchard le=0.5": 3,
        "wait_seconds_bucket model=orchard le=1": 3,
        "wait_seconds_bucket model=orchard le=+Inf": 4,
        "wait_seconds_sum model=orchard": pytest.approx(7.45),
        "wait_seconds_count model=orchard": 4,
    }


@pytest.mark.parametrize("together", [True, False])
def test_many_values_at_once_are_many_values(meters: Meters, together: bool) -> None:
    values = np.array([[0.1], [0.100001], [1.0], [2.0]])
    for each in [values] if together else values.ravel().tolist():
        meters.observe(WAIT, each)

    assert list(told(meters, "wait").values()) == [1, 2, 3, 4, pytest.approx(3.200001), 4]


def test_values_that_may_be_negative_have_no_sum(meters: Meters) -> None:
    meters.observe(SCORE, [-0.9, 0.9])

    assert told(meters, "score_sum") == {}
    assert told(meters, "score_count") == {"score_count model=orchard": 2}


def test_a_mentioned_histogram_begins_at_zero(meters: Meters) -> None:
    meters.mention(WAIT)

    assert set(told(meters, "wait").values()) == {0}


def test_a_watched_value_is_read_each_time(meters: Meters) -> None:
    depths = iter([3.0, 1.0])
    meters.watch(DEPTH, lambda: next(depths))

    assert told(meters, "depth") == {"depth_metres model=orchard": 3}
    assert told(meters, "depth") == {"depth_metres model=orchard": 1}


def test_a_label_that_the_metric_has_not_is_refused(meters: Meters) -> None:
    with pytest.raises(ValueError, match=r"apples_total: .*red, green, found 'blue'"):
        meters.add(APPLES, label="blue")
    with pytest.raises(ValueError, match=r"pears_total: .*found 'red'"):
        meters.add(PEARS, label="red")


def test_nothing_is_lost_between_threads(meters: Meters) -> None:
    def count(_: Any) -> None:
        for _ in range(1000):
            meters.add(PEARS)
            meters.observe(WAIT, 0.2)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(count, range(8)))

    assert told(meters, "pears") == {"pears_total model=orchard": 8000}
    assert told(meters, "wait_seconds_count") == {"wait_seconds_count model=orchard": 8000}


def test_every_model_counts_its_requests_from_the_start(meters: Meters) -> None:
    assert told(meters, "megatick_requests") == {"megatick_requests_total model=orchard": 0}
    reasons = {name.split("reason=")[1] for name in told(meters, "megatick_rejections")}
    assert reasons == {"invalid", "queue_full", "too_late", "expired", "cancelled"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_metrics_are_named_as_prometheus_wants(metric: Any) -> None:
    assert metric.name.startswith("megatick_")
    assert metric.name.endswith("_total") == isinstance(metric, Counter)
    assert metric.meaning
    assert bool(metric.label) == (metric.values != ("",))
    if isinstance(metric, Histogram):
        assert list(metric.bounds) == sorted(set(metric.bounds))
        assert metric.bounds
