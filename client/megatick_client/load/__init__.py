"""Load tests: open-loop replays measured from intended starts, and perf_analyzer.

    from megatick_client.load import Texts, poisson, replay, sentiment_calls

    calls = sentiment_calls(Texts(("Acme raises its guidance", "Acme recalls a car")))
    result = replay(poisson(200, 30), calls, "127.0.0.1:8001")
    print(result.goodput_per_s, result.from_due.p99_ms)

It needs the extra ``load``.  ``import megatick_client`` loads nothing of it.
"""

from megatick_client.load.answers import AnswerCounts
from megatick_client.load.calls import (
    Texts,
    in_lane,
    market_view_calls,
    read_price_files,
    read_text_files,
    renamed,
    sentiment_calls,
)
from megatick_client.load.errors import (
    InputError,
    LoadError,
    PerfAnalyzerError,
    ScheduleError,
)
from megatick_client.load.histogram import Latency
from megatick_client.load.intervals import Interval
from megatick_client.load.records import Records
from megatick_client.load.replay import replay
from megatick_client.load.result import Outcome, ReplayOptions, ReplayResult
from megatick_client.load.schedule import Schedule, burst, constant, poisson
from megatick_client.load.tape import read_tape
from megatick_client.load.tolerance import Tolerance

__all__ = [
    "AnswerCounts",
    "InputError",
    "Interval",
    "Latency",
    "LoadError",
    "Outcome",
    "PerfAnalyzerError",
    "Records",
    "ReplayOptions",
    "ReplayResult",
    "Schedule",
    "ScheduleError",
    "Texts",
    "Tolerance",
    "burst",
    "constant",
    "in_lane",
    "market_view_calls",
    "poisson",
    "read_price_files",
    "read_tape",
    "read_text_files",
    "renamed",
    "replay",
    "sentiment_calls",
]
