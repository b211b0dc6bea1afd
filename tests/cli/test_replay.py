"""``megatick replay`` as its user meets it, against an endpoint of this process."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from endpoint import Endpoint, serve, texts_of
from typer.testing import CliRunner

from megatick_cli.app import app

WIDE = {"COLUMNS": "140"}
SHORT = ("--rate", "50", "--duration", "0.4", "--schedule", "constant")


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with serve(Endpoint()) as endpoint:
        yield endpoint


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    path = tmp_path / "texts.csv"
    path.write_text("text\nup +\nflat\n")
    return path


def run(*arguments: object) -> tuple[int, str, str]:
    """Run ``megatick replay`` as the shell would; its status, stdout and stderr."""
    result = CliRunner().invoke(app, ["replay", *map(str, arguments)], env=WIDE)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout, result.stderr


def test_both_definitions_and_the_outcomes(endpoint: Endpoint, texts: Path) -> None:
    status, printed, _ = run(texts, "--address", endpoint.address, *SHORT, "--slo-ms", 4000)

    assert status == 0, printed
    assert (
        "offered 50.0/s, answered 50.0/s, goodput 50.0/s (100.00% within 4000 ms)"
        in printed
    )
    rows = {line.strip().split("  ")[0]: line.split() for line in printed.splitlines()}
    assert rows["from the intended start"][4] == "20"
    assert rows["from the actual send"][4] == "20"
    assert rows["answered"][1:3] == ["20", "100.00%"]
    assert "20 answers checked, 0 wrong; 20 compared with their references" in printed


def test_a_report_in_a_folder(endpoint: Endpoint, texts: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    status, printed, _ = run(texts, "--address", endpoint.address, *SHORT, "--out", out)

    assert status == 0
    assert str(out / "replay.html") in printed
    assert json.loads((out / "replay.json").read_text())["calls"] == 20


def test_json_is_all_that_is_printed(endpoint: Endpoint, texts: Path) -> None:
    status, printed, _ = run(texts, "--address", endpoint.address, *SHORT, "--json")

    assert status == 0
    assert json.loads(printed)["schedule"] == "constant, 50 calls/s"


def test_a_tape_brings_its_own_texts(endpoint: Endpoint, tmp_path: Path) -> None:
    tape = tmp_path / "tape.jsonl"
    rows = [(0, "first"), (1, "second +"), (4, "third")]
    tape.write_text("".join(f'{{"at": {at}, "headline": "{t}"}}\n' for at, t in rows))
    options = ("--text-column", "headline", "--time-column", "at", "--speed", 10)

    status, printed, _ = run(
        *("--schedule", "tape", "--tape", tape, "--address", endpoint.address, *options),
        *("--references", 0, "--json"),
    )

    assert status == 0
    assert json.loads(printed)["calls"] == 3
    assert json.loads(printed)["duration_s"] == pytest.approx(0.6)
    sent = [texts_of(request)[0] for request in endpoint.requests]
    assert sent == ["first", "first", "second +", "third"], "the first warms up"


def test_prices_ask_market_view(endpoint: Endpoint, texts: Path, tmp_path: Path) -> None:
    """The endpoint knows no forecasts, so it fails, once market_view was asked for."""
    prices = tmp_path / "prices.csv"
    prices.write_text("A\n1\n2\n")

    with pytest.raises(Exception, match="market_view"):
        run(texts, "--prices", prices, "--address", endpoint.address, *SHORT)

    assert endpoint.requests[0].model_name == "market_view"


def test_another_model_of_the_same_tensors(endpoint: Endpoint, texts: Path) -> None:
    arguments = ("--address", endpoint.address, *SHORT, "--model", "peer", "--rows", 2)

    status, _, _ = run(texts, *arguments)

    assert status == 0
    assert {request.model_name for request in endpoint.requests} == {"peer"}
    assert texts_of(endpoint.requests[-1]) == ["up +", "flat"]


def test_a_burst(endpoint: Endpoint, texts: Path) -> None:
    status, printed, _ = run(
        *(texts, "--address", endpoint.address, "--schedule", "burst", "--json"),
        *("--rate", 20, "--duration", 0.6, "--burst-rate", 400),
        *("--burst-start", 0.2, "--burst-length", 0.2),
    )

    assert status == 0
    assert 50 < json.loads(printed)["calls"] < 130  # 88 expected


def test_a_wrong_answer_is_1(endpoint: Endpoint, texts: Path, tmp_path: Path) -> None:
    expected = tmp_path / "expected.csv"
    expected.write_text("text,score\nup +,0.3\n")  # it is 0.25

    status, printed, _ = run(
        texts, "--address", endpoint.address, *SHORT, "--expect", expected
    )

    assert status == 1
    assert "score differs from the reference (10)" in " ".join(printed.split())


@pytest.mark.parametrize(
    ("stated", "options", "allowed"),
    [
        pytest.param(0.25, (), "allowed 0.25 (stated by the server)", id="stated"),
        pytest.param(0.25, ("--tolerance", 0.5), "allowed 0.5 (given)", id="given"),
        pytest.param(
            None, (), "allowed 0.001 (default: the server states none)", id="foreign"
        ),
    ],
)
def test_it_says_which_tolerance_counted(
    stated: float | None, options: tuple[object, ...], allowed: str, texts: Path
) -> None:
    with serve(Endpoint(tolerance=stated)) as endpoint:
        status, printed, _ = run(texts, "--address", endpoint.address, *SHORT, *options)

    assert status == 0
    assert allowed in " ".join(printed.split())


def test_no_answer_is_1(texts: Path) -> None:
    with serve(Endpoint(refuse=range(1, 99))) as endpoint:
        status, printed, _ = run(
            texts, "--address", endpoint.address, *SHORT, "--references", 0
        )

    assert status == 1
    assert "Overloaded" in printed


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        pytest.param([], "give TEXTS, or a --tape", id="no-texts"),
        pytest.param(["{texts}", "--rate", "0"], "rate: expected calls/s > 0", id="rate"),
        pytest.param(["{texts}", "--schedule", "tape"], "go together", id="no-tape"),
        pytest.param(["{texts}", "--tape", "x.csv"], "go together", id="no-schedule"),
        pytest.param(
            ["--schedule", "tape", "--tape", "{tape}", "--rows", "2"],
            "one a call",
            id="rows-of-a-tape",
        ),
        pytest.param(["{texts}", "--schedule", "bursty"], "bursty", id="choice"),
    ],
)
def test_bad_usage_is_2(
    arguments: list[str], message: str, texts: Path, tmp_path: Path
) -> None:
    tape = tmp_path / "tape.csv"
    tape.write_text("time,text\n1,a\n2,b\n")
    filled = [each.format(texts=texts, tape=tape) for each in arguments]

    status, printed, said = run(*filled)

    assert (status, printed) == (2, "")
    assert message in " ".join(said.replace("│", " ").split())


def test_help_starts_without_the_wire() -> None:
    code = (
        "import sys, megatick_cli.replay; "
        "heavy = {'grpc', 'tritonclient', 'matplotlib', 'pandas'} & set(sys.modules); "
        "sys.exit(f'loaded {heavy}' if heavy else 0)"
    )

    subprocess.run([sys.executable, "-c", code], check=True)
