"""Tells Triton what a step has counted, for its own metrics port to serve.

Each call on a metric of Triton's is a message between processes.  So nothing is told on a
request's path: every two seconds, the series that changed are told by how much.  That costs
the same at any load, and is why a histogram goes out as the counters that it consists of:
Triton's own kind would want a message for every value
(docs/decisions/0010-histograms-as-counters.md).
"""

from __future__ import annotations

import ctypes
import logging
import math
import os
import threading
from typing import Any, Final

from megatick_server.meters import Meters, Series
from megatick_server.metrics import Gauge

_LOG = logging.getLogger(__name__)

PERIOD_S: Final = 2.0


class Publisher:
    """A thread that tells Triton one model's meters until it is closed.

    It ends this process where Triton's has ended.
    """

    def __init__(
        self, meters: Meters, pb_utils: Any, *, period_s: float = PERIOD_S
    ) -> None:
        """Begin.

        Args:
            meters: what is told.
            pb_utils: Triton's ``triton_python_backend_utils``.
            period_s: seconds between two rounds, > 0.
        """
        self._meters = meters
        self._pb_utils = pb_utils
        self._period_s = period_s
        # In this order: Triton wants a family to outlive its metrics.
        self._families: dict[str, Any] = {}
        self._metrics: dict[Series, Any] = {}
        self._told: dict[Series, float] = {}
        self._triton = os.getppid()
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._work, name="metrics", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Tell what is left, and end."""
        self._closing.set()
        self._thread.join()
        # They outlive Python.  Taken down with it, they end the process by signal 11, since
        # Triton's end is gone by then; taken down here, they would take the series from
        # under the step that was loaded in this one's place (both tried, Triton 2.51).
        for each in (*self._metrics.values(), *self._families.values()):
            ctypes.pythonapi.Py_IncRef(ctypes.py_object(each))

    def _work(self) -> None:
        closing = False
        while not closing:
            closing = self._closing.wait(self._period_s)
            if os.getppid() != self._triton:
                # The stub sees it too, and then waits for Triton's end of the metrics
                # (tried, Triton 2.51): it would stay for ever.
                os._exit(1)
            try:
                self._tell()
            except Exception:  # noqa: BLE001 the next round tells what this one did not
                _LOG.exception("metrics of %s could not be told", self._meters.model)

    def _tell(self) -> None:
        for series, total in self._meters.totals().items():
            gauge = isinstance(series.metric, Gauge)
            if series not in self._metrics:
                self._metrics[series] = self._create(series)
                # Triton keeps what a step that was killed told of a series: a counter goes
                # on from there, a gauge is what this step says, if that is 0.
                self._told[series] = math.nan if gauge else 0.0
            if total == self._told[series]:
                continue
            if gauge:
                self._metrics[series].set(total)
            else:
                self._metrics[series].increment(total - self._told[series])
            self._told[series] = total

    def _create(self, series: Series) -> Any:
        of_triton = self._pb_utils.MetricFamily
        if series.name not in self._families:
            gauge = isinstance(series.metric, Gauge)
            self._families[series.name] = of_triton(
                name=series.name,
                description=series.metric.meaning,
                kind=of_triton.GAUGE if gauge else of_triton.COUNTER,
            )
        return self._families[series.name].Metric(labels=dict(series.labels))
