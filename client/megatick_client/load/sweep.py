"""Levels of load, each measured by ``perf_analyzer``; the time in the server is Triton's.

perf_analyzer divides a call into queue, compute and network by Triton's durations of the
steps.  A Python step that answers by response senders, as the CPU's does, has returned
long before its answers go, and the queue of an ensemble's step is not the ensemble's: of
calls that took 462 ms, 455 of them in the server, it told 461 ms of network.  So its
division is left out, and Triton's own total, which is in its report but not in its CSV,
is set beside the whole call.
"""

from __future__ import annotations

import base64
import csv
import json
import math
import os
import re
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from tritonclient.grpc import InferenceServerClient
from tritonclient.utils import InferenceServerException

from megatick_client.errors import Unauthenticated
from megatick_client.load.errors import PerfAnalyzerError, ScheduleError
from megatick_client.load.perf_analyzer import PerfAnalyzer
from megatick_client.load.result import without_nan
from megatick_client.requests import Request
from megatick_client.statuses import translate
from megatick_client.tls import Tls
from megatick_contract import Tensor

Mode = Literal["concurrency", "request-rate"]
Distribution = Literal["constant", "poisson"]

_ASKED_S: Final = 10.0
_NOT_STABLE: Final = 2
"""Exit status of perf_analyzer 2.46 and 2.60 when its windows kept differing; it writes
no figures then.  Source: its constants.h, ``STABILITY_ERROR``."""


_PARTS: Final = (
    "Client Send",
    "Network+Server Send/Recv",
    "Server Queue",
    "Server Compute Input",
    "Server Compute Infer",
    "Server Compute Output",
    "Client Recv",
)
"""Columns that add up to a call's mean latency."""

_IN_SERVER_US: Final = re.compile(
    r"^ *Server:.*?Avg request latency: (?P<us>\d+) usec", re.M | re.S
)


@dataclass(frozen=True)
class SweepOptions:
    """How each level is measured.

    Attributes:
        mode: ``concurrency``: so many calls are always in flight (closed loop);
            ``request-rate``: so many leave a second.
        levels: rising or not, each > 0; whole numbers for ``concurrency``.
        rows: texts a call.
        distribution: of the gaps, for ``request-rate``.
        window_s: of one measurement; three alike in turn are a result.
        trials: windows at most.
        stability_percent: how far apart those three may be.
    """

    mode: Mode = "concurrency"
    levels: tuple[float, ...] = (1, 2, 4, 8, 16)
    rows: int = 1
    distribution: Distribution = "constant"
    window_s: float = 5.0
    trials: int = 10
    stability_percent: float = 10.0

    def __post_init__(self) -> None:
        """Refuse what perf_analyzer would misread.

        Raises:
            ScheduleError: a number is out of its range.
        """
        whole = self.mode == "request-rate" or all(each % 1 == 0 for each in self.levels)
        if (
            not self.levels
            or not all(0 < each < math.inf for each in self.levels)
            or not whole
        ):
            kind = "whole numbers > 0" if self.mode == "concurrency" else "calls/s > 0"
            raise ScheduleError(f"levels of {self.mode}", expected=kind, found=self.levels)
        for name, number in (
            ("rows", self.rows),
            ("window", self.window_s),
            ("trials", self.trials),
            ("stability", self.stability_percent),
        ):
            if not 0 < number < math.inf:
                raise ScheduleError(name, expected="a number > 0", found=number)


@dataclass(frozen=True)
class Level:
    """One level of load.  Every figure is NaN where the level was not stable.

    Latencies are perf_analyzer's: from the actual send, of a whole call.

    Attributes:
        level: calls in flight, or calls a second, as asked for.
        stable: perf_analyzer saw three windows alike.
        rows_per_s: rows answered a second, its ``Inferences/Second``.
        mean_ms: of a call's latency: the sum of the parts that perf_analyzer gives.
        p50_ms: likewise.
        p90_ms: likewise.
        p95_ms: likewise.
        p99_ms: likewise.
        in_server_ms: mean, from a call's arrival in the server to its answer: Triton's
            statistics of the same windows, which perf_analyzer reports.
    """

    level: float
    stable: bool
    rows_per_s: float
    mean_ms: float
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    in_server_ms: float


@dataclass(frozen=True)
class Sweep:
    """What a load test found.

    Attributes:
        endpoint: ``HOST:PORT``.
        model: that was called.
        perf_analyzer: the version that ran, in its own words.
        texts: how many different rows it took in turn.
        options: how each level was measured.
        levels: in the order of ``options.levels``.
    """

    endpoint: str
    model: str
    perf_analyzer: str
    texts: int
    options: SweepOptions
    levels: tuple[Level, ...]

    @property
    def best(self) -> Level | None:
        """The level of the highest throughput; None where none was stable."""
        stable = [each for each in self.levels if each.stable]
        return max(stable, key=lambda each: each.rows_per_s, default=None)

    def to_json(self) -> str:
        """Everything, as JSON."""
        return json.dumps(without_nan(asdict(self)), indent=2, allow_nan=False) + "\n"


def sweep(
    tool: PerfAnalyzer,
    calls: Sequence[Request],
    endpoint: str,
    folder: Path,
    *,
    options: SweepOptions | None = None,
    tls: Tls | None = None,
    progress: Callable[[float], None] = lambda level: None,
) -> Sweep:
    """Measure each level in turn.

    Args:
        tool: see ``find_perf_analyzer``.
        calls: what is asked, of one model; their rows are sent in turn.
        endpoint: ``HOST:PORT`` of the gRPC port.
        folder: made if absent; ``input.json`` is written there, and of each level
            perf_analyzer's own CSV and what it said.
        options: which levels and how; its defaults if None.
        tls: how the server is trusted; None talks in the clear.
        progress: told each level as it begins.

    Raises:
        PerfAnalyzerError: the server keeps from it what it must read, ``tls`` names the
            server, or it failed.
        ClientError: the server does not answer, or lacks the model; or a file of ``tls``
            is no such thing.
    """
    options = options or SweepOptions()
    model = calls[0].model.name
    guards = tuple(_tls_options(tls))
    check_open(endpoint, model, tls)
    folder.mkdir(parents=True, exist_ok=True)
    rows = write_input(folder / "input.json", calls)
    levels = []
    for level in options.levels:
        progress(level)
        levels.append(_measure(tool, model, endpoint, folder, options, level, guards))
    return Sweep(endpoint, model, tool.version, rows, options, tuple(levels))


def _tls_options(tls: Tls | None) -> Iterator[str]:
    """Say it to perf_analyzer, which knows no other name of a server than its address.

    Raises:
        PerfAnalyzerError: there is another.
    """
    if tls is None:
        return
    if tls.server_name is not None:
        raise PerfAnalyzerError(
            "it expects a certificate for the host of the server's address, and cannot be "
            f"told another name ({tls.server_name})",
            remedy="Call the server by a name that its certificate holds.",
        )
    yield "--ssl-grpc-use-ssl"
    for option, file in (
        ("--ssl-grpc-root-certifications-file", tls.ca),
        ("--ssl-grpc-certificate-chain-file", tls.certificate),
        ("--ssl-grpc-private-key-file", tls.key),
    ):
        if file is not None:
            yield from (option, os.fspath(file))


def check_open(endpoint: str, model: str, tls: Tls | None = None) -> None:
    """Ask for what perf_analyzer asks for, so that a refusal is told in words.

    Raises:
        PerfAnalyzerError: the server restricts its model configs or statistics.
        ClientError: it does not answer, or lacks the model.
    """
    credentials = None if tls is None else tls.credentials()
    with InferenceServerClient(endpoint, creds=credentials) as server:
        for ask in (server.get_model_config, server.get_inference_statistics):
            try:
                ask(model, client_timeout=_ASKED_S)
            except InferenceServerException as error:
                failure = translate(
                    str(error.status()).removeprefix("StatusCode."),
                    error.message() or "",
                    address=endpoint,
                    model=model,
                    rows=0,
                    timeout_s=_ASKED_S,
                )
                if not isinstance(failure, Unauthenticated):
                    raise failure from error
                raise PerfAnalyzerError(
                    f"{endpoint} keeps its model configs or its statistics to itself, "
                    "which perf_analyzer reads",
                    remedy="Serve with: megatick serve REPOSITORY --open model-config "
                    "--open statistics",
                ) from error


def write_input(path: Path, calls: Sequence[Request]) -> int:
    """Write the rows of calls as perf_analyzer's ``--input-data``; returns how many.

    Source: perf_analyzer's docs/input_data.md; numbers travel as base64 of their bytes,
    since a window of prices holds NaN, which JSON does not.
    """
    rows = [
        {tensor.name: _cell(tensor, array[row]) for tensor, array in call.inputs.items()}
        for call in calls
        for row in range(call.rows)
    ]
    document = json.dumps({"data": rows}, ensure_ascii=False, indent=0)
    path.write_text(document, encoding="utf-8")
    return len(rows)


def _cell(tensor: Tensor, row: npt.NDArray[Any]) -> object:
    if tensor.datatype == "BYTES":
        return [each.decode() for each in row.tolist()]
    return {"b64": base64.b64encode(np.ascontiguousarray(row).tobytes()).decode()}


def _measure(
    tool: PerfAnalyzer,
    model: str,
    endpoint: str,
    folder: Path,
    options: SweepOptions,
    level: float,
    guards: Sequence[str],
) -> Level:
    """Run one level, and keep what perf_analyzer wrote and said."""
    name = f"{options.mode}-{level:g}"
    table = folder / f"{name}.csv"
    table.unlink(missing_ok=True)
    command = [
        *(str(tool.program), "-m", model, "-u", endpoint, "-i", "grpc", "--async"),
        *("--input-data", str(folder / "input.json"), "-b", str(options.rows)),
        *(f"--{options.mode}-range", f"{level:g}", "-f", str(table)),
        *("--measurement-interval", f"{options.window_s * 1e3:.0f}"),
        *("--max-trials", str(options.trials)),
        *("--stability-percentage", f"{options.stability_percent:g}"),
        *guards,
    ]
    if options.mode == "request-rate":
        command += ["--request-distribution", options.distribution]
    done = subprocess.run(
        command, env=tool.environment, capture_output=True, text=True, check=False
    )
    log = folder / f"{name}.log"
    log.write_text(done.stdout + done.stderr, encoding="utf-8")
    if done.returncode == _NOT_STABLE:
        return Level(level, False, *(math.nan,) * 7)
    if done.returncode or not table.is_file():
        said = (done.stderr or done.stdout).strip().splitlines()
        raise PerfAnalyzerError(
            f"failed at {options.mode} {level:g} (exit status {done.returncode}): "
            f"{said[-1] if said else 'it said nothing'}",
            remedy=f"All it said is in {log}.",
        )
    with table.open(encoding="utf-8", newline="") as file:
        return level_of(next(csv.DictReader(file)), done.stdout, level)


def level_of(row: Mapping[str, str], report: str, level: float) -> Level:
    """Read what perf_analyzer found, whose times are in microseconds.

    Args:
        row: the line of its CSV.
        report: what it printed; the first time in it of a server is the model's that was
            called, those of an ensemble's steps follow.
        level: that was asked for.

    Raises:
        PerfAnalyzerError: a column or that time is not there, or is no number.
    """

    def ms(*columns: str) -> float:
        return sum(float(row[column]) for column in columns) / 1e3

    in_server = _IN_SERVER_US.search(report)
    try:
        if in_server is None:
            raise ValueError("no 'Avg request latency' of a server in its report")
        return Level(
            level,
            True,
            rows_per_s=float(row["Inferences/Second"]),
            mean_ms=ms(*_PARTS),
            p50_ms=ms("p50 latency"),
            p90_ms=ms("p90 latency"),
            p95_ms=ms("p95 latency"),
            p99_ms=ms("p99 latency"),
            in_server_ms=float(in_server["us"]) / 1e3,
        )
    except (KeyError, ValueError) as error:
        raise PerfAnalyzerError(
            f"its figures are not what its releases 2.46 to 2.60 write: {error}",
            remedy="Use one of those releases.",
        ) from error
