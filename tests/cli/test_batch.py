"""``megatick batch`` as its user meets it, against an endpoint of this process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from batch_world import Troubled, errors_of, rows_of, text_of
from endpoint import serve
from typer.testing import CliRunner
from until import until

from megatick_cli.app import app
from megatick_contract import MegatickError

WIDE = {"COLUMNS": "220"}
ROWS = 2000


@pytest.fixture
def endpoint() -> Iterator[Troubled]:
    with serve(Troubled()) as endpoint:
        yield endpoint


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "news.csv"
    lines = (f"{n},{text_of(n)}" for n in range(ROWS))
    path.write_text("id,headline\n" + "\n".join(lines) + "\nbroken\n")
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    """Run ``megatick batch`` as the shell would; its status, stdout and stderr."""
    result = CliRunner().invoke(app, ["batch", *map(str, arguments)], env=WIDE)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("command", [(), ("run",)], ids=["in-short", "in-full"])
def test_run(
    endpoint: Troubled, source: Path, tmp_path: Path, command: tuple[str, ...]
) -> None:
    output = tmp_path / "scores.parquet"
    options = ("--column", "headline", "--address", endpoint.address)

    status, printed, _ = run(*command, source, output, *options)

    assert status == 0
    assert f"{output}: 2,000 of 2,001 rows scored by model d1d1d1d1d1d1" in printed
    assert f"rows refused: 1; why: {output}.errors.jsonl" in printed
    assert [int(row["id"]) for row in rows_of(output)] == list(range(ROWS))
    assert errors_of(output)[0]["line"] == ROWS + 2


def test_options_reach_the_batch(endpoint: Troubled, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.jsonl"

    run(
        *("--column", "headline", "--address", endpoint.address),
        *("--prefix", "news_", "--truncation", "tail", "--priority", "live"),
        *("--in-flight", 3, "--timeout-s", 7, "--patience-s", 9),
        *(source, output),
    )

    told = json.loads((tmp_path / "scores.jsonl.job" / "job.json").read_text())
    assert told["settings"] == {
        **{"column": "headline", "prefix": "news_", "truncation": "tail"},
        **{"priority": "live", "dedupe": False, "engine": "threads", "in_flight": 3},
        **{"timeout_s": 7.0, "patience_s": 9.0},
    }


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_stopped_by_a_signal_then_resumed(
    endpoint: Troubled, source: Path, tmp_path: Path, number: signal.Signals
) -> None:
    output = tmp_path / "scores.parquet"
    endpoint.halt_at = 700
    # Where these tests run in a shell's background, SIGINT is ignored, by children too.  A
    # preexec_fn for that may hang, forked beside the threads of gRPC.
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); "
        "from megatick_cli import main; main()"
    )
    command = [sys.executable, "-c", code, "batch", str(source), str(output)]
    options = ["--column", "headline", "--address", endpoint.address, "--in-flight", "2"]
    process = subprocess.Popen(command + options, stderr=subprocess.DEVNULL)
    until(lambda: endpoint.halted)
    os.kill(process.pid, number)
    assert process.wait(60) != 0

    listed = run("list", tmp_path, "--json")[1].splitlines()
    before = run("status", output)[1]
    endpoint.halt_at = None
    status, printed, _ = run("resume", output, "--address", endpoint.address)

    (told,) = map(json.loads, listed)
    assert told["output"] == str(output)
    assert told["state"] == "interrupted"
    # What was scored when a signal asked it to end was kept; SIGKILL does not ask.
    assert (told["rows"] > 0) == (number != signal.SIGKILL)
    assert "interrupted" in before
    assert status == 0
    assert "2,000 of 2,001 rows" in printed
    assert [int(row["id"]) for row in rows_of(output)] == list(range(ROWS))
    assert "finished" in run("status", output)[1]


def test_cancel(endpoint: Troubled, source: Path, tmp_path: Path) -> None:
    output = tmp_path / "scores.parquet"
    endpoint.refuse = range(10, 10**6)
    options = ("--column", "headline", "--address", endpoint.address, "--patience-s", 0)
    with pytest.raises(MegatickError, match="resume the batch to score the rest"):
        run(source, output, *options)

    status, printed, _ = run("cancel", output)

    assert status == 0
    assert f"{output}: is cancelled; " in printed
    assert "cancelled" in run("list", tmp_path)[1]


def test_bad_usage() -> None:
    assert run("news.csv")[0] == 2
    assert run("news.csv", "scores.parquet", "--truncation", "middle")[0] == 2
    assert "resume" in run("--help")[1]


def test_json_tells_what_was_refused(
    endpoint: Troubled, source: Path, tmp_path: Path
) -> None:
    output = tmp_path / "scores.parquet"
    run(source, output, "--column", "headline", "--address", endpoint.address)

    told = json.loads(run("status", output, "--json")[1])

    assert (told["rows"], told["scored"], told["refused"]) == (ROWS + 1, ROWS, 1)
