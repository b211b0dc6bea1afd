"""A sweep: what perf_analyzer is asked, what of its figures is kept, and the report."""

from __future__ import annotations

import base64
import json
import math
import re
from collections.abc import Callable, Iterator
from dataclasses import astuple, replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pandas as pd
import pytest
from endpoint import Endpoint, serve
from html_page import Page
from perf_analyzer import FIGURES, StandIn, calls_of

from megatick_client import ModelNotReady, ServerUnavailable, Tls
from megatick_client.load import (
    PerfAnalyzerError,
    ScheduleError,
    Texts,
    market_view_calls,
    sentiment_calls,
)
from megatick_client.load.perf_analyzer import PerfAnalyzer, find_perf_analyzer
from megatick_client.load.sweep import (
    Level,
    Mode,
    Sweep,
    SweepOptions,
    check_open,
    sweep,
    write_input,
)
from megatick_client.load.sweep_report import write_sweep
from megatick_server.launcher import TritonServer
from megatick_server.launcher.options import Api

CALLS = sentiment_calls(Texts(("a +", "b –", "c")))
OPENED = frozenset({Api.MODEL_CONFIG, Api.STATISTICS})

StartTriton = Callable[..., TritonServer]


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Tells what perf_analyzer reads; the stand-in for that calls nobody."""
    with serve(Endpoint()) as endpoint:
        yield endpoint


def installed(folder: Path, stand_in: StandIn | None = None) -> PerfAnalyzer:
    """The stand-in as a tool that was found."""
    (stand_in or StandIn()).install(folder)
    return find_perf_analyzer(folder, environment={"PATH": str(folder)})


def test_each_level_has_the_figures_of_its_own_run(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    options = SweepOptions(levels=(1, 3))
    told: list[float] = []

    found = sweep(
        installed(tmp_path),
        CALLS,
        endpoint.address,
        tmp_path / "out",
        options=options,
        progress=told.append,
    )

    assert (found.endpoint, found.model, found.texts) == (endpoint.address, "sentiment", 3)
    assert found.perf_analyzer == "Perf Analyzer Version 2.46.0 (commit unknown)"
    # The mean is the sum of its parts: 3 + 700 + 20 + 1 + 200 + 9 + 2 us.
    assert [astuple(each) for each in found.levels] == [
        (1, True, 100, pytest.approx(0.935), 1.0, 2.0, 3.0, 4.0, 0.8),
        (3, True, 300, pytest.approx(2.805), 3.0, 6.0, 9.0, 12.0, pytest.approx(2.4)),
    ]
    assert found.best == found.levels[1]
    assert told == [1, 3]


def test_perf_analyzer_is_asked_what_the_options_say(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    tool = installed(tmp_path)
    options = SweepOptions(
        levels=(8,), rows=4, window_s=0.25, trials=7, stability_percent=12.5
    )

    sweep(tool, CALLS, endpoint.address, tmp_path / "out", options=options)

    (call,) = calls_of(tool.program)
    asked = {
        "-m": "sentiment",
        "-u": endpoint.address,
        "-i": "grpc",
        "-b": "4",
        "--input-data": str(tmp_path / "out" / "input.json"),
        "--concurrency-range": "8",
        "--measurement-interval": "250",  # ms
        "--max-trials": "7",
        "--stability-percentage": "12.5",
    }
    assert {name: call.get(name) for name in asked} == asked
    assert "--async" in call
    assert "--request-distribution" not in call


def test_a_rate_has_a_distribution(endpoint: Endpoint, tmp_path: Path) -> None:
    tool = installed(tmp_path)
    options = SweepOptions(mode="request-rate", levels=(2.5,), distribution="poisson")

    found = sweep(tool, CALLS, endpoint.address, tmp_path / "out", options=options)

    (call,) = calls_of(tool.program)
    assert call["--request-rate-range"] == "2.5"
    assert call["--request-distribution"] == "poisson"
    assert found.levels[0].rows_per_s == 250


def test_a_level_that_is_not_stable_has_no_figures_and_the_next_is_measured(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    stand_in = StandIn(fails={"1": (2, "Failed to obtain stable measurement.")})
    options = SweepOptions(levels=(1, 2))

    found = sweep(
        installed(tmp_path, stand_in),
        CALLS,
        endpoint.address,
        tmp_path / "out",
        options=options,
    )

    first, second = found.levels
    assert (first.level, first.stable) == (1, False)
    assert math.isnan(first.rows_per_s)
    assert math.isnan(first.p99_ms)
    assert math.isnan(first.in_server_ms), "windows that settled nowhere prove nothing"
    assert found.best == second
    document = json.loads(found.to_json())
    assert document["levels"][0]["p99_ms"] is None
    assert document["levels"][1]["p99_ms"] == 8


def test_nothing_stable_has_no_best(endpoint: Endpoint, tmp_path: Path) -> None:
    stand_in = StandIn(fails={"1": (2, "Failed to obtain stable measurement.")})
    options = SweepOptions(levels=(1,))

    found = sweep(
        installed(tmp_path, stand_in),
        CALLS,
        endpoint.address,
        tmp_path / "out",
        options=options,
    )

    assert found.best is None


def test_a_failure_tells_its_last_words_and_where_the_rest_is(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    stand_in = StandIn(fails={"2": (99, "warming up\nerror: missing tensor PRICES")})
    out = tmp_path / "out"

    with pytest.raises(PerfAnalyzerError) as caught:
        sweep(
            installed(tmp_path, stand_in),
            CALLS,
            endpoint.address,
            out,
            options=SweepOptions(levels=(1, 2)),
        )

    log = out / "concurrency-2.log"
    assert str(caught.value) == (
        "perf_analyzer: failed at concurrency 2 (exit status 99): error: missing tensor "
        f"PRICES.  All it said is in {log}."
    )
    assert "warming up" in log.read_text()


def test_a_table_of_an_earlier_run_is_never_read(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    """It ends with 0 and writes nothing: the table that lies there is another run's."""
    out = tmp_path / "out"
    options = SweepOptions(levels=(1,))
    sweep(installed(tmp_path), CALLS, endpoint.address, out, options=options)
    mute = installed(tmp_path, StandIn(fails={"1": (0, "done")}))

    with pytest.raises(PerfAnalyzerError, match=r"concurrency 1 \(exit status 0\): done"):
        sweep(mute, CALLS, endpoint.address, out, options=options)


def test_a_table_of_other_columns_is_refused(endpoint: Endpoint, tmp_path: Path) -> None:
    columns = {name: figure for name, figure in FIGURES.items() if name != "p99 latency"}
    tool = installed(tmp_path, StandIn(columns=columns))

    with pytest.raises(PerfAnalyzerError, match="'p99 latency'"):
        sweep(
            tool,
            CALLS,
            endpoint.address,
            tmp_path / "out",
            options=SweepOptions(levels=(1,)),
        )


def test_a_report_without_the_time_in_the_server_is_refused(
    endpoint: Endpoint, tmp_path: Path
) -> None:
    tool = installed(tmp_path, StandIn(report="  Client:\n    p50 latency: 1 usec\n"))

    with pytest.raises(PerfAnalyzerError, match="no 'Avg request latency' of a server"):
        sweep(
            tool,
            CALLS,
            endpoint.address,
            tmp_path / "out",
            options=SweepOptions(levels=(1,)),
        )


@pytest.mark.parametrize(
    ("mode", "levels"),
    [
        pytest.param("concurrency", (), id="none"),
        pytest.param("concurrency", (1, 0), id="zero"),
        pytest.param("concurrency", (1.5,), id="half-a-call-in-flight"),
        pytest.param("concurrency", (math.inf,), id="infinite"),
        pytest.param("request-rate", (-1,), id="negative-rate"),
        pytest.param("request-rate", (math.nan,), id="no-number"),
    ],
)
def test_levels_that_nobody_can_offer(mode: Mode, levels: tuple[float, ...]) -> None:
    with pytest.raises(ScheduleError, match=f"levels of {mode}"):
        SweepOptions(mode=mode, levels=levels)


@pytest.mark.parametrize(
    ("name", "number"),
    [("window_s", 0.0), ("stability_percent", -1.0), ("window_s", math.nan)],
)
def test_measurements_that_cannot_be_made(name: str, number: float) -> None:
    with pytest.raises(ScheduleError, match="expected a number > 0"):
        SweepOptions(**{name: number})  # type: ignore[arg-type]


def test_the_input_holds_each_row_bit_for_bit(tmp_path: Path) -> None:
    prices = {"A": np.array([10.0, 11.25])}
    calls = market_view_calls(Texts(('Gewinn –\n"auf"', "b", "c")), prices, rows=2)

    rows = write_input(tmp_path / "input.json", calls)

    document = json.loads((tmp_path / "input.json").read_text("utf-8"))
    assert rows == len(document["data"]) == 3
    first = document["data"][0]
    assert first["TEXT"] == ['Gewinn –\n"auf"']
    window = np.frombuffer(base64.b64decode(first["PRICES"]["b64"]), "<f4")
    assert window.shape == (64,)
    assert np.isnan(window[:62]).all()
    assert window[62:].tolist() == [10.0, 11.25]
    assert (
        np.frombuffer(base64.b64decode(first["SENTIMENT_STATE"]["b64"]), "<f4").tolist()
        == [0] * 4
    )


def found(*, stable: tuple[bool, ...] = (True, False, True)) -> Sweep:
    """Three levels of 1, 2 and 4 calls in flight, of which some were stable."""
    levels = tuple(
        Level(n, True, 100 * n, 1.5 * n, n, 2 * n, 3 * n, 4 * n, 0.5)
        if each
        else Level(n, False, *(math.nan,) * 7)
        for n, each in zip((1, 2, 4), stable, strict=True)
    )
    options = SweepOptions(levels=(1, 2, 4))
    return Sweep("<host>:1", "sentiment", "Perf Analyzer 9", 1234, options, levels)


def test_the_files_hold_the_same_figures(tmp_path: Path) -> None:
    files = write_sweep(found(), tmp_path / "new" / "folder")

    assert [file.name for file in files] == [
        "loadtest.json",
        "loadtest.csv",
        "loadtest.html",
    ]
    document = json.loads(files[0].read_text())
    assert document["options"]["levels"] == [1, 2, 4]
    assert [each["rows_per_s"] for each in document["levels"]] == [100, None, 400]
    table = pd.read_csv(files[1])
    assert table["level"].tolist() == [1, 2, 4]
    assert table["p99_ms"].tolist() == pytest.approx([4, np.nan, 16], nan_ok=True)
    rows = {row[0]: row[1:] for row in Page(files[2].read_text()).rows}
    assert rows["4"] == ["400", "6.00", "4.00", "8.00", "12.0", "16.0", "0.50", ""]
    assert rows["2"] == [*["–"] * 7, "not stable"]


def test_the_page_stands_alone(tmp_path: Path) -> None:
    page = write_sweep(found(), tmp_path)[-1].read_text()

    assert Page(page).fetched == []
    assert "&lt;host&gt;:1" in page
    assert "<host>" not in page
    assert "<b>400 rows/s</b> at 4 calls in flight" in page
    assert "Perf Analyzer 9 with 1,234 rows of input" in page


def test_the_plots_draw_throughput_latency_and_its_parts(tmp_path: Path) -> None:
    page = write_sweep(found(), tmp_path)[-1].read_text()

    plots = re.findall(r"<svg.*?</svg>", page, re.S)
    expected: tuple[tuple[str, ...], ...] = (
        ("rows/s",),
        ("latency from the send, ms", "p50", "p90", "p95", "p99"),
        ("mean, ms", "the whole call", "of it in the server"),
    )
    for plot, labels in zip(plots, expected, strict=True):
        said = "".join(ElementTree.fromstring(plot).itertext())
        assert all(label in said for label in (*labels, "calls in flight"))


def test_plots_rise_with_the_level_in_whatever_order_it_was_measured(
    tmp_path: Path,
) -> None:
    rising = found()
    falling = replace(rising, levels=rising.levels[::-1])

    pages = [
        write_sweep(each, tmp_path / name)[-1].read_text()
        for name, each in (("a", rising), ("b", falling))
    ]

    first, second = (re.findall(r"<svg.*?</svg>", page, re.S) for page in pages)
    assert first == second


def test_a_sweep_without_a_stable_level_says_so_instead_of_plotting(tmp_path: Path) -> None:
    page = write_sweep(found(stable=(False,) * 3), tmp_path)[-1].read_text()

    assert "No level was stable." in page
    assert "<svg" not in page


@pytest.mark.triton
def test_what_keeps_perf_analyzer_out_is_told_before_it_runs(
    start_triton: StartTriton,
) -> None:
    closed = start_triton("sentiment", "sentiment_step").endpoints.grpc

    with pytest.raises(PerfAnalyzerError, match="--open model-config --open statistics"):
        check_open(closed, "sentiment")


@pytest.mark.triton
def test_a_server_that_lets_it_in(start_triton: StartTriton) -> None:
    opened = start_triton("sentiment", "sentiment_step", opened=OPENED).endpoints.grpc

    check_open(opened, "sentiment")
    with pytest.raises(ModelNotReady, match="'peer'"):
        check_open(opened, "peer")


def test_nobody_answers() -> None:
    with pytest.raises(ServerUnavailable, match="no server answers"):
        check_open("127.0.0.1:1", "sentiment")


def test_a_name_that_perf_analyzer_cannot_be_told(tmp_path: Path) -> None:
    tls = Tls(server_name="megatick.test")

    with pytest.raises(PerfAnalyzerError, match=r"another name \(megatick\.test\)"):
        sweep(installed(tmp_path), CALLS, "127.0.0.1:1", tmp_path / "out", tls=tls)
