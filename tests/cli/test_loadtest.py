"""``megatick loadtest`` as its user meets it; the real perf_analyzer runs once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from endpoint import Endpoint, serve
from perf_analyzer import StandIn, calls_of
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_cli.loadtest import cache_folder
from megatick_client.load import PerfAnalyzerError
from megatick_client.load.perf_analyzer import find_perf_analyzer

if TYPE_CHECKING:
    from exported import Exported

MEGATICK = Path(sys.executable).with_name("megatick")
NOT_STABLE = (2, "Failed to obtain stable measurement.")


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("text\nup\nflat\n")
    return path


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """Tells what perf_analyzer reads; the stand-in for that calls nobody."""
    with serve(Endpoint()) as endpoint:
        yield endpoint


def run(*arguments: object, path: Path | None = None) -> tuple[int, str, str]:
    """Run ``megatick loadtest`` as the shell would; its status, stdout and stderr.

    Args:
        arguments: of the command.
        path: the one folder on PATH; as it is where None.
    """
    environment = {"COLUMNS": "140"} | ({} if path is None else {"PATH": str(path)})
    command = ["loadtest", *map(str, arguments)]
    result = CliRunner().invoke(app, command, env=environment)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_a_table_and_a_report(endpoint: Endpoint, texts: Path, tmp_path: Path) -> None:
    StandIn(fails={"2": NOT_STABLE}).install(tmp_path)
    out = tmp_path / "out"

    status, printed, _ = run(
        *(texts, "--address", endpoint.address, "--concurrency", "1,2,12", "--out", out),
        path=tmp_path,
    )

    assert status == 0
    assert f"sentiment at {endpoint.address}, 1 row a call" in printed
    assert "Perf Analyzer Version 2.46.0 (commit unknown)" in printed
    rows = {
        line.split()[0]: line.split()[1:] for line in printed.splitlines() if line.strip()
    }
    assert rows["12"] == ["1,200.0", "12.0", "24.0", "36.0", "48.0", "11.2", "9.6"]
    assert rows["2"] == [*["–"] * 7, "not", "stable"]
    for name in ("loadtest.json", "loadtest.csv", "loadtest.html"):
        assert str(out / name) in printed
        assert (out / name).is_file()
    assert "Best: <b>1,200 rows/s</b>" in (out / "loadtest.html").read_text()


def test_json_is_all_that_is_printed(
    endpoint: Endpoint, texts: Path, tmp_path: Path
) -> None:
    program = StandIn().install(tmp_path)
    options = ("--request-rate", "2.5", "--distribution", "poisson", "--rows", 3)

    status, printed, _ = run(
        *(texts, "--address", endpoint.address, *options, "--window", 0.5, "--json"),
        *("--model", "peer", "--out", tmp_path / "out"),
        path=tmp_path,
    )

    assert status == 0
    document = json.loads(printed)
    assert document["options"]["mode"] == "request-rate"
    assert document["levels"][0]["rows_per_s"] == 250
    (call,) = calls_of(program)
    assert (call["-m"], call["-b"], call["--measurement-interval"]) == ("peer", "3", "500")
    assert call["--request-distribution"] == "poisson"


def test_prices_ask_market_view(endpoint: Endpoint, texts: Path, tmp_path: Path) -> None:
    program = StandIn().install(tmp_path)
    prices = tmp_path / "prices.csv"
    prices.write_text("A\n1\n2\n")
    out = tmp_path / "out"

    run(
        *(
            texts,
            "--prices",
            prices,
            "--address",
            endpoint.address,
            "--concurrency",
            1,
            "--out",
            out,
        ),
        path=tmp_path,
    )

    assert calls_of(program)[0]["-m"] == "market_view"
    rows = json.loads((out / "input.json").read_text())["data"]
    assert {frozenset(row) for row in rows} == {
        frozenset({"TEXT", "PRICES", "SENTIMENT_STATE", "ELAPSED_S"})
    }


def test_no_stable_level_is_1(endpoint: Endpoint, texts: Path, tmp_path: Path) -> None:
    StandIn(fails={"1": NOT_STABLE}).install(tmp_path)
    out = tmp_path / "out"

    status, printed, _ = run(
        *(texts, "--address", endpoint.address, "--concurrency", 1, "--out", out),
        path=tmp_path,
    )

    assert status == 1
    assert "no level was stable: allow longer windows (--window)" in printed
    assert (out / "loadtest.html").is_file()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "--address of a running server, or --repository", id="no-server"),
        pytest.param(
            ["--address", "a:1", "--repository", "r"], "or --repository", id="two-servers"
        ),
        pytest.param(
            ["--address", "a:1", "--concurrency", "1", "--request-rate", "2"],
            "not both",
            id="both-modes",
        ),
        pytest.param(
            ["--address", "a:1", "--concurrency", "1,x"], "found '1,x'", id="no-numbers"
        ),
        pytest.param(
            ["--address", "a:1", "--concurrency", "1.5"],
            "whole numbers > 0",
            id="half-a-call",
        ),
        pytest.param(
            ["--address", "a:1", "--distribution", "poisson"],
            "goes with --request-rate",
            id="a-distribution-of-no-rate",
        ),
        pytest.param(
            ["--address", "a:1", "--window", "0"], "window: expected", id="window"
        ),
        pytest.param(["--address", "a:1", "--trials", "2"], "trials", id="trials"),
    ],
)
def test_bad_usage_is_2(arguments: list[str], message: str, texts: Path) -> None:
    status, printed, said = run(texts, *arguments)

    assert (status, printed) == (2, "")
    assert message in " ".join(said.replace("│", " ").split())


def test_the_cache_is_where_xdg_puts_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for given, expected in {
        "/cache": Path("/cache/megatick"),
        "": tmp_path / ".cache" / "megatick",
        "relative": tmp_path / ".cache" / "megatick",  # which XDG tells to ignore
    }.items():
        monkeypatch.setenv("XDG_CACHE_HOME", given)
        assert cache_folder() == expected


def test_an_error_is_one_line_for_the_shell(texts: Path, tmp_path: Path) -> None:
    StandIn().install(tmp_path)

    done = subprocess.run(
        [MEGATICK, "loadtest", texts, "--address", "127.0.0.1:1"],
        env={**os.environ, "PATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: 127.0.0.1:1: no server answers")
    assert "megatick serve" in line


def test_help_starts_without_the_wire() -> None:
    code = (
        "import sys, megatick_cli.loadtest; "
        "heavy = {'grpc', 'tritonclient', 'matplotlib', 'pandas'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.triton
def test_the_real_one_sweeps_a_real_model(
    exported: Exported, texts: Path, tmp_path: Path
) -> None:
    """The first run on a machine installs perf_analyzer, as the command itself would."""
    try:
        find_perf_analyzer(cache_folder(), environment=os.environ)
    except PerfAnalyzerError as error:
        pytest.skip(str(error))
    # On a busy machine windows differ; what is tested here is not by how much.
    quickly = ("--concurrency", "1,2", "--window", 0.5, "--stability", 999)

    status, printed, said = run(
        *(texts, "--repository", exported.out, *quickly, "--rows", 2),
        *("--out", tmp_path / "out", "--json"),
    )

    assert status == 0, said
    levels = json.loads(printed)["levels"]
    assert [each["level"] for each in levels] == [1, 2]
    for each in levels:
        assert each["stable"]
        assert each["rows_per_s"] > 0
        assert 0 < each["p50_ms"] <= each["p90_ms"] <= each["p95_ms"] <= each["p99_ms"]
        assert 0 < each["in_server_ms"] < 2 * each["mean_ms"]
