"""When each call is due: a plan that no answer can delay.

A schedule is made before the first call is sent, and says nothing of what is sent.  The
load is *open*: the world does not wait for us before the next headline appears.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final, Self

import numpy as np
import numpy.typing as npt

from megatick_client.load.errors import ScheduleError

FloatArray = npt.NDArray[np.float64]

MOST_CALLS: Final = 50_000_000
"""More than a day at 500 calls a second; beyond it a number is a slip of the pen."""


@dataclass(frozen=True, eq=False)
class Schedule:
    """The intended start of every call.

    Attributes:
        name: what a reader calls it, such as ``"Poisson, 100 calls/s, seed 0"``.
        starts_s: float64, shape (calls,), not falling, in seconds from the beginning,
            each in [0, duration_s].
        duration_s: seconds that the plan covers, > 0; rates are counted over it.
    """

    name: str
    starts_s: FloatArray
    duration_s: float

    def __post_init__(self) -> None:
        """Refuse what is no plan.

        Raises:
            ScheduleError: no call, a time that is no number or out of range, or one
                before its predecessor.
        """
        starts = self.starts_s
        if not 0 < self.duration_s < math.inf:
            raise ScheduleError(
                "duration", expected="seconds > 0", found=f"{self.duration_s:g}"
            )
        if starts.ndim != 1 or not len(starts):
            raise ScheduleError(
                self.name, expected="at least one call", found="none: play it for longer"
            )
        if not (np.isfinite(starts).all() and starts.min() >= 0):
            raise ScheduleError(self.name, expected="starts >= 0 s", found="another")
        if starts.max() > self.duration_s or (np.diff(starts) < 0).any():
            raise ScheduleError(
                self.name,
                expected=f"starts that rise to at most {self.duration_s:g} s",
                found="others",
            )

    def __len__(self) -> int:
        """Calls in the plan."""
        return len(self.starts_s)

    @property
    def rate_per_s(self) -> float:
        """Mean calls a second."""
        return len(self) / self.duration_s

    def faster(self, speed: float) -> Self:
        """Play the same plan ``speed`` times as fast; 1 leaves it as it is.

        Raises:
            ScheduleError: the speed is not a finite number above 0.
        """
        if not 0 < speed < math.inf:
            raise ScheduleError("speed", expected="a number > 0", found=speed)
        if speed == 1:
            return self
        return type(self)(
            f"{self.name}, at {speed:g} times its speed",
            self.starts_s / speed,
            self.duration_s / speed,
        )


def constant(rate_per_s: float, duration_s: float) -> Schedule:
    """Evenly spaced calls, the first at 0.

    >>> constant(4, 1).starts_s.tolist()
    [0.0, 0.25, 0.5, 0.75]
    """
    calls = _calls("rate", rate_per_s, duration_s)
    starts = np.arange(math.floor(calls) + 1) / rate_per_s
    name = f"constant, {rate_per_s:g} calls/s"
    return Schedule(name, starts[starts < duration_s], duration_s)


def poisson(rate_per_s: float, duration_s: float, *, seed: int = 0) -> Schedule:
    """Calls that know nothing of each other: exponential gaps, as of many callers.

    Args:
        rate_per_s: mean calls a second, > 0; their number varies around it.
        duration_s: > 0.
        seed: of the generator; the same seed gives the same plan.
    """
    name = f"Poisson, {rate_per_s:g} calls/s, seed {seed}"
    expected = _calls("rate", rate_per_s, duration_s)
    return Schedule(name, _arrivals(expected, seed) / rate_per_s, duration_s)


def burst(
    rate_per_s: float,
    duration_s: float,
    *,
    burst_rate_per_s: float,
    burst_start_s: float,
    burst_length_s: float,
    seed: int = 0,
) -> Schedule:
    """A quiet tape into which news breaks: a Poisson process whose rate jumps and falls.

    Args:
        rate_per_s: mean calls a second outside the burst, > 0.
        duration_s: of the whole, > 0.
        burst_rate_per_s: mean calls a second within it, > 0.
        burst_start_s: seconds from the beginning, >= 0.
        burst_length_s: seconds, > 0; the burst ends by ``duration_s``.
        seed: of the generator.

    Raises:
        ScheduleError: a number is out of its range.
    """
    end_s = burst_start_s + burst_length_s
    if not (burst_start_s >= 0 and burst_length_s > 0 and end_s <= duration_s):
        raise ScheduleError(
            "burst",
            expected=f"a length > 0 s that lies within 0 to {duration_s:g} s",
            found=f"{burst_start_s:g} s to {end_s:g} s",
        )
    knots_s = np.array([0, burst_start_s, end_s, duration_s])
    outside = [burst_start_s, duration_s - end_s]
    before, after = (_calls("rate", rate_per_s, each, least_s=-1) for each in outside)
    within = _calls("burst rate", burst_rate_per_s, burst_length_s)
    expected = np.cumsum([0, before, within, after])  # calls due by each knot, on average
    # Time runs at the rate: a unit-rate process in expected calls, read back in seconds.
    starts_s = np.interp(_arrivals(expected[-1], seed), expected, knots_s)
    name = (
        f"news burst, {rate_per_s:g} calls/s, {burst_rate_per_s:g} calls/s from "
        f"{burst_start_s:g} s to {end_s:g} s, seed {seed}"
    )
    return Schedule(name, starts_s, duration_s)


def _arrivals(expected: float, seed: int) -> FloatArray:
    """Arrivals of a Poisson process of rate 1 in [0, expected), rising.

    Given their number, they are independent and uniform.  Source: Kingman, Poisson
    Processes (1993), section 2.4.
    """
    generator = np.random.default_rng(seed)
    return np.sort(generator.uniform(0, expected, generator.poisson(expected)))


def _calls(what: str, rate_per_s: float, seconds: float, *, least_s: float = 0) -> float:
    """Calls at this rate for so long, on average."""
    if not 0 < rate_per_s < math.inf:
        raise ScheduleError(what, expected="calls/s > 0", found=f"{rate_per_s:g}")
    if not least_s < seconds < math.inf:
        raise ScheduleError("duration", expected="seconds > 0", found=f"{seconds:g}")
    calls = rate_per_s * seconds
    if calls > MOST_CALLS:
        raise ScheduleError(
            what, expected=f"at most {MOST_CALLS:,} calls in all", found=f"{calls:,.0f}"
        )
    return calls
