"""What Triton is told, by how many messages, and what becomes of a message that fails."""

from __future__ import annotations

import gc
import logging
import time
from itertools import count
from types import SimpleNamespace
from typing import Any

import pytest

from megatick_server.meters import Meters
from megatick_server.metrics import Counter, Gauge, Histogram
from megatick_server.publisher import Publisher

PEARS = Counter("pears_total", "pears picked")
DEPTH = Gauge("depth_metres", "how deep")
ROUNDS = Gauge("rounds", "how often it was read")
WAIT = Histogram("wait_seconds", "how long", bounds=(0.1, 1.0))

PERIOD_S = 0.01
WAIT_S = 30.0


class FakeTriton:
    """Keeps what it is told, as Triton's metrics would; refuses a counter that falls."""

    COUNTER, GAUGE = "counter", "gauge"

    def __init__(self) -> None:
        self.kinds: dict[str, str] = {}
        self.values: dict[str, float] = {}
        self.messages = 0
        self.broken = False

    def __call__(self, *, name: str, description: str, kind: str) -> Any:
        assert name not in self.kinds, "one family a name"
        assert description
        self.kinds[name] = kind

        def metric(labels: dict[str, str]) -> Any:
            key = " ".join([name, *(f"{k}={v}" for k, v in labels.items())])
            self.values.setdefault(key, 0.0)
            return SimpleNamespace(
                increment=lambda by: self.tell(key, self.values[key] + by, by),
                set=lambda to: self.tell(key, to, 0),
            )

        return SimpleNamespace(Metric=metric)

    def tell(self, key: str, value: float, by: float) -> None:
        if self.broken:
            raise RuntimeError("no room in shared memory")
        assert by >= 0
        self.messages += 1
        self.values[key] = value


@pytest.fixture
def triton() -> FakeTriton:
    return FakeTriton()


@pytest.fixture
def meters() -> Meters:
    return Meters("orchard")


def until(condition: Any) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(PERIOD_S)


def test_triton_is_told_the_totals_while_they_grow(
    meters: Meters, triton: FakeTriton
) -> None:
    depth = [4.0]
    meters.watch(DEPTH, lambda: depth[0])
    publisher = Publisher(meters, SimpleNamespace(MetricFamily=triton), period_s=PERIOD_S)
    meters.add(PEARS, 3)
    until(lambda: triton.values.get("pears_total model=orchard") == 3)
    meters.add(PEARS, 2)
    meters.observe(WAIT, 0.5)
    depth[0] = 1.5
    publisher.close()

    told = {
        key: value
        for key, value in triton.values.items()
        if not key.startswith("megatick_")  # every model's own
    }
    assert told == {
        "pears_total model=orchard": 5,
        "depth_metres model=orchard": 1.5,
        "wait_seconds_bucket model=orchard le=0.1": 0,
        "wait_seconds_bucket model=orchard le=1": 1,
        "wait_seconds_bucket model=orchard le=+Inf": 1,
        "wait_seconds_sum model=orchard": 0.5,
        "wait_seconds_count model=orchard": 1,
    }
    assert triton.kinds["depth_metres"] == "gauge"
    assert triton.kinds["wait_seconds_bucket"] == "counter"


def test_gauges_of_a_step_that_was_killed_do_not_stay(triton: FakeTriton) -> None:
    """Triton keeps them: 40 requests would wait for ever in a step that has none."""

    def publish(depth: float, pears: int) -> None:
        meters = Meters("orchard")
        meters.watch(DEPTH, lambda: depth)
        meters.add(PEARS, pears)
        Publisher(meters, SimpleNamespace(MetricFamily=triton), period_s=PERIOD_S).close()

    publish(depth=40.0, pears=3)
    triton.kinds.clear()  # another process makes its own
    publish(depth=0.0, pears=2)

    assert triton.values["depth_metres model=orchard"] == 0
    assert triton.values["pears_total model=orchard"] == 5


def test_what_triton_gave_outlives_the_publisher(meters: Meters) -> None:
    """Destroyed with Python it ends the process by signal 11."""
    destroyed: list[str] = []

    def ignore(value: float) -> None:
        pass

    class Given(SimpleNamespace):
        def __del__(self) -> None:
            destroyed.append(self.name)

    class Family(Given):
        COUNTER, GAUGE = "counter", "gauge"

        def Metric(self, labels: dict[str, str]) -> Given:  # noqa: N802  as Triton has it
            return Given(name=f"{self.name} {labels}", increment=ignore, set=ignore)

    publisher = Publisher(meters, SimpleNamespace(MetricFamily=Family), period_s=PERIOD_S)
    publisher.close()
    del publisher
    gc.collect()

    assert not destroyed


def test_messages_follow_what_changed_and_not_how_often(
    meters: Meters, triton: FakeTriton
) -> None:
    for _ in range(10_000):
        meters.add(PEARS)
        meters.observe(WAIT, 0.5)
    meters.watch(DEPTH, lambda: 2.0)
    rounds = count(1)
    meters.watch(ROUNDS, lambda: next(rounds))
    publisher = Publisher(meters, SimpleNamespace(MetricFamily=triton), period_s=PERIOD_S)
    until(lambda: triton.values.get("rounds model=orchard", 0) > 5)
    publisher.close()

    # pears and depth, of the histogram two buckets, sum and count; and each round itself
    # with its time
    assert triton.messages - 2 * triton.values["rounds model=orchard"] == 6


def test_what_could_not_be_told_is_logged_and_told_later(
    meters: Meters, triton: FakeTriton, caplog: pytest.LogCaptureFixture
) -> None:
    triton.broken = True
    meters.add(PEARS, 3)
    publisher = Publisher(meters, SimpleNamespace(MetricFamily=triton), period_s=PERIOD_S)
    with caplog.at_level(logging.ERROR):
        until(lambda: "no room in shared memory" in caplog.text)
    triton.broken = False
    publisher.close()

    assert "metrics of orchard could not be told" in caplog.text
    assert triton.values["pears_total model=orchard"] == 3
