"""What can keep a load test from being run, or from being worth anything.

MegatickError
└── LoadError
    ├── ScheduleError          a schedule that no call, or no clock, can follow
    ├── InputError             a file of texts, prices, times or answers to expect
    └── PerfAnalyzerError      perf_analyzer is absent, was refused, or failed

What the server under test answers is no error here: it is counted.  Only the first call,
before the clock runs, raises the client's own errors.
"""

from __future__ import annotations

from pathlib import Path

from megatick_contract import MegatickError


class LoadError(MegatickError):
    """Base of every error of the load test itself."""


class ScheduleError(LoadError, ValueError):
    """A number of a schedule is out of its range."""

    def __init__(self, what: str, *, expected: str, found: object) -> None:
        super().__init__(f"{what}: expected {expected}, found {found}")
        self.what = what
        self.expected = expected
        self.found = found


class InputError(LoadError, ValueError):
    """A file, or what files hold together, is not what the load test needs."""

    def __init__(self, source: Path | str, problem: str) -> None:
        super().__init__(f"{source}: {problem}")
        self.source = source
        self.problem = problem


class PerfAnalyzerError(LoadError):
    """perf_analyzer cannot be had here, was refused by the server, or failed."""

    def __init__(self, problem: str, *, remedy: str) -> None:
        super().__init__(f"perf_analyzer: {problem}.  {remedy}")
        self.problem = problem
        self.remedy = remedy
