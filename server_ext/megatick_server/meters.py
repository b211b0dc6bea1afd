"""Counts in this process, cheap enough for every request; ``publisher`` tells Triton."""

from __future__ import annotations

import threading
import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from megatick_server.metrics import (
    FAILURES,
    REJECTIONS,
    REQUESTS,
    TOLD,
    Counter,
    Gauge,
    Histogram,
    Metric,
)

_Metric = TypeVar("_Metric", bound=Metric)


@dataclass(frozen=True)
class Series:
    """One line of a scrape.

    Attributes:
        name: the metric's, of a histogram with ``_bucket``, ``_sum`` or ``_count``.
        labels: name and value of each.
        metric: what it is of.
    """

    name: str
    labels: tuple[tuple[str, str], ...]
    metric: Metric


@dataclass
class _Distribution:
    counts: list[int]
    sum: float = 0.0


@dataclass
class Meters:
    """What one Triton model has counted.  Safe to share between threads.

    A series exists once it is mentioned, which is best done at the start: Prometheus sees
    growth only of what it has seen before.

    Attributes:
        model: the Triton model, a label of each series.
    """

    model: str
    _sums: dict[tuple[Counter, str], float] = field(default_factory=dict)
    _distributions: dict[tuple[Histogram, str], _Distribution] = field(default_factory=dict)
    _watched: dict[tuple[Counter | Gauge, str], Callable[[], float]] = field(
        default_factory=dict
    )
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def __post_init__(self) -> None:
        """Every step counts its requests, and shows that it is alive."""
        for counter in (REQUESTS, REJECTIONS, FAILURES):
            self.mention(counter)
        self.watch(TOLD, time.time)

    def mention(self, *metrics: Metric) -> None:
        """Begin all series of some counters and histograms, at zero."""
        for metric in metrics:
            for label in metric.values:
                if isinstance(metric, Counter):
                    self.add(metric, 0, label)
                elif isinstance(metric, Histogram):
                    self.observe(metric, (), label)

    def add(self, counter: Counter, amount: float = 1, label: str = "") -> None:
        """Let a counter grow by an amount ≥ 0.

        Raises:
            ValueError: the metric has no such label.
        """
        key = _checked(counter, label)
        with self._lock:
            self._sums[key] = self._sums.get(key, 0.0) + amount

    def observe(self, histogram: Histogram, values: npt.ArrayLike, label: str = "") -> None:
        """Sort values, one or many and in the metric's unit, into a histogram.

        Raises:
            ValueError: the metric has no such label.
        """
        key = _checked(histogram, label)
        bounds = histogram.bounds
        # Most are one value, and numpy takes ten times as long to begin.
        given = [values] if isinstance(values, float) else np.ravel(values).tolist()
        found = [bisect_left(bounds, value) for value in given]
        with self._lock:
            distribution = self._distributions.get(key)
            if distribution is None:
                distribution = _Distribution([0] * (len(bounds) + 1))
                self._distributions[key] = distribution
            for bucket in found:
                distribution.counts[bucket] += 1
            distribution.sum += sum(given)

    def watch(
        self, metric: Counter | Gauge, read: Callable[[], float], label: str = ""
    ) -> None:
        """Read a value from where it is kept, each time it is told.

        Args:
            metric: what it is; a counter's value must never shrink.
            read: called from any thread.
            label: which of the metric's series.

        Raises:
            ValueError: the metric has no such label.
        """
        self._watched[_checked(metric, label)] = read

    def note(self, gauge: Gauge, value: float, label: str = "") -> None:
        """Let a gauge be a value for good.

        Raises:
            ValueError: the metric has no such label.
        """
        self.watch(gauge, lambda: value, label)

    def totals(self) -> dict[Series, float]:
        """Tell all series, of counters and histograms since this process began.

        A histogram's buckets are cumulative, as Prometheus has them.  One of values that
        may be negative has no sum: a sum that falls looks like a restart.
        """
        with self._lock:
            found: dict[tuple[Any, str], float] = dict(self._sums)
            distributions = [
                (key, list(each.counts), each.sum)
                for key, each in self._distributions.items()
            ]
        found |= {key: read() for key, read in self._watched.items()}
        totals = {
            Series(metric.name, self._labels(metric, label), metric): value
            for (metric, label), value in found.items()
        }
        for (histogram, label), counts, total in distributions:
            labels = self._labels(histogram, label)
            bounds = (*(f"{bound:g}" for bound in histogram.bounds), "+Inf")
            for bound, below in zip(bounds, accumulate(counts), strict=True):
                bucket = (*labels, ("le", bound))
                totals[Series(f"{histogram.name}_bucket", bucket, histogram)] = below
            if histogram.bounds[0] >= 0:
                totals[Series(f"{histogram.name}_sum", labels, histogram)] = total
            totals[Series(f"{histogram.name}_count", labels, histogram)] = sum(counts)
        return totals

    def _labels(self, metric: Metric, label: str) -> tuple[tuple[str, str], ...]:
        model = ("model", self.model)
        return (model, (metric.label, label)) if metric.label else (model,)


def _checked(metric: _Metric, label: str) -> tuple[_Metric, str]:
    if metric.values and label not in metric.values:
        raise ValueError(
            f"{metric.name}: expected a {metric.label or 'metric without label'} of "
            f"{', '.join(metric.values)}, found {label!r}"
        )
    return metric, label
