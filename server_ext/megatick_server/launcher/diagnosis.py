r"""Why the server did not start, read from its log.

Triton says it nowhere else: its exit status is 1 for everything.  So this is the one
place that goes by message text, one table of what the pinned server prints; the tests
make it print each.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

from megatick_server.errors import ModelFailure

_NO_STUB: Final = "Failed to preinitialize Python stub"

_FAILED: Final = r"""\] "failed to load '(?P<model>[^']+)' version \d+: (?P<reason>.*)"$"""
# The step's failure again, at the very end: a verbose log may have lost the step's own.
_ENSEMBLE_FAILED: Final = (
    r"""\] "Invalid argument: ensemble '[^']+' depends on '(?P<model>[^']+)' """
    r"""which has no loaded version\. Model '[^']+' loading failed with error: """
    r"""(?:version \d+ is at \w+ state: )?(?P<reason>.*?);?"$"""
)
_MODEL_PATTERNS: Final = tuple(
    map(
        re.compile,
        (
            _FAILED,
            r"""\] "failed to load model '(?P<model>[^']+)': (?P<reason>.*)"$""",
            r"""\] "Poll failed for model directory '(?P<model>[^']+)': (?P<reason>.*)"$""",
            r"""\] "Invalid argument: (?:in )?ensemble (?P<model>[^\s',]+),? """
            r"""(?P<reason>.*)"$""",
            _ENSEMBLE_FAILED,
            _NO_STUB + r""": """
            r"""(?P<reason>.*'[^']*/(?P<model>[^'/]+)/\d+/[^'/]+')$""",
        ),
    )
)
_BIND: Final = re.compile(
    r"""\] "failed to start (?P<service>\w+) service: \w+ - (?P<reason>.*)"$"""
)
_SERVICES: Final = {"GRPC": "gRPC", "HTTP": "HTTP", "Metrics": "metrics"}
_LOADING: Final = re.compile(r"""\] "loading: (?P<model>.+):\d+"$""")
_LOADED: Final = re.compile(r"""\] "successfully loaded '(?P<model>.+)'"$""")
_OUTCOMES: Final = (_LOADED, re.compile(_FAILED), re.compile(_ENSEMBLE_FAILED))
"""Of a load, which "loading:" began."""
_UNLOADED: Final = re.compile(
    r"""\] "successfully unloaded '(?P<model>.+)' version \d+"$"""
)
_ESCAPES: Final = {"n": "\n", "t": "\t", '"': '"', "\\": "\\"}
_FRAME: Final = re.compile(r"(?P<path>.+)\((?P<line>\d+)\): (?P<function>.+)")


def model_failures(log: Iterable[str]) -> tuple[ModelFailure, ...]:
    """Find the models that did not load, in the order in which they failed."""
    found: dict[str, ModelFailure] = {}
    for line in log:
        for pattern in _MODEL_PATTERNS:
            if match := pattern.search(line):
                model = match["model"]
                found.setdefault(model, ModelFailure(model, _plain(match["reason"])))
                break
    return tuple(found.values())


def hangs(log: Iterable[str]) -> bool:
    """Tell whether the server waits for a step that will never come.

    It does when a model's Python file is missing (tried for 120 s), where after any
    other failure it loads the remaining models and ends.
    """
    return any(_NO_STUB in line for line in log)


def listens(line: str) -> bool:
    """Tell whether a line says that gRPC is open, which is after the models loaded."""
    return '] "Started GRPCInferenceService at ' in line


def bind_failure(log: Iterable[str]) -> tuple[str, str] | None:
    """Find the service that could not listen, and why; None if all could."""
    for line in log:
        if match := _BIND.search(line):
            service = match["service"]
            return _SERVICES.get(service, service), match["reason"].strip()
    return None


def still_loading(log: Iterable[str]) -> tuple[str, ...]:
    """Find the models that began to load and are not done, in that order."""
    loading: dict[str, None] = {}
    for line in log:
        if match := _LOADING.search(line):
            loading[match["model"]] = None
        elif match := _LOADED.search(line):
            loading.pop(match["model"], None)
    return tuple(loading)


def of_loads_begun(log: Iterable[str]) -> Iterator[str]:
    """Leave out what became of loads that had begun before.

    Triton ends no load that we gave up, and names the model at its end, not its folder.
    """
    begun: set[str] = set()
    for line in log:
        if match := _LOADING.search(line):
            begun.add(match["model"])
        ends = (match["model"] for each in _OUTCOMES if (match := each.search(line)))
        if begun.issuperset(ends):
            yield line


def loaded(log: Iterable[str]) -> set[str]:
    """Find the models that were loaded."""
    return {match["model"] for line in log if (match := _LOADED.search(line))}


def unloaded(log: Iterable[str]) -> set[str]:
    """Find the models of which a version was unloaded."""
    return {match["model"] for line in log if (match := _UNLOADED.search(line))}


def worth_showing(line: str) -> bool:
    """Tell whether a line is a warning or error of Triton's that means something.

    Without a GPU there is no pinned memory to copy through, of which the server tells once,
    and no CUDA driver, of which it tells for each ensemble that it loads.
    """
    return re.match(r"[WE]\d{4} ", line) is not None and not any(
        of_no_gpu in line
        for of_no_gpu in ("pinned system memory", "CUDA driver version is insufficient")
    )


def tail(log: Sequence[str], lines: int = 15) -> tuple[str, ...]:
    """Return the last lines that are not part of Triton's drawn tables."""
    said = [line for line in log if line.strip() and line[0] not in "|+"]
    return tuple(said[-lines:])


def _plain(reason: str) -> str:
    r"""Undo Triton's escapes, and turn a traceback into its exception and its place.

    >>> _plain(r"Internal: ValueError: no\n\nAt:\n  /r/m/1/model.py(3): initialize\n")
    'ValueError: no (/r/m/1/model.py, line 3, in initialize)'
    """
    text = re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[0]), reason)
    text = text.removeprefix("Internal: ").strip()
    said, _, trace = text.partition("\n\nAt:\n")
    if frame := _FRAME.match(trace.strip()):
        said += f" ({frame['path']}, line {frame['line']}, in {frame['function']})"
    return said
