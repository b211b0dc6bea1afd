"""``megatick fit-forecaster``: from files to an artefact that the server's code loads."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from html_page import Page
from typer.testing import CliRunner, Result

from megatick_cli.app import app
from megatick_cli.fit_forecaster import CANDIDATES
from megatick_server.forecast import load_forecaster
from megatick_training.errors import DataError
from megatick_training.forecasting.candidates import candidates_of


def fit(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["fit-forecaster", *map(str, arguments)])


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("prices") / "closes.csv"
    steps = np.random.default_rng(0).normal(0, 0.01, (1100, 4))
    index = pd.date_range("2015-01-01", periods=1100, freq="D").strftime("%Y-%m-%d")
    closes = pd.DataFrame(np.exp(np.cumsum(steps, axis=0)), index=index, columns=[*"ABCD"])
    closes.to_csv(path, index_label="date")
    return path


@pytest.fixture(scope="module")
def news(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("news") / "news.csv"
    days = pd.date_range("2015-03-06T12:00:00Z", periods=900, freq="D")
    rows = {"symbol": "A", "published_at": days.astype(str), "score": 0.5}
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def test_the_artefact_loads_and_its_report_names_the_data(
    prices: Path, news: Path, tmp_path: Path
) -> None:
    out = tmp_path / "forecaster.json"

    result = fit("--prices", prices, "--news", news, "--close-time", "21:00", "--out", out)

    assert result.exit_code == 0, result.output
    forecaster = load_forecaster(out)
    assert forecaster.bar_s == 86_400
    assert "closes.csv, news.csv: 3 symbols from 2015-03-05" in forecaster.fitted_on
    page = (tmp_path / "forecaster.report.html").read_text()
    rows = Page(page).rows
    assert ["news", str(news)] in [row[:2] for row in rows]
    assert any(row[0] == "scale: leverage, news, location: news" for row in rows if row)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "forecaster.json",
        "forecaster.report.html",
    ]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        pytest.param([], "one of them", id="no-prices"),
        pytest.param(["--source", "finance-datareader"], "--symbols, --start", id="source"),
        pytest.param(["--prices", "p.csv", "--close-time", "9pm"], "HH:MM", id="clock"),
        pytest.param(
            ["--prices", "p.csv", "--candidate", "garch"], "'random walk'; 'with", id="name"
        ),
    ],
)
def test_bad_usage_says_what_is_missing(
    arguments: list[str], problem: str, tmp_path: Path
) -> None:
    result = fit(*arguments, "--out", tmp_path / "forecaster.json")

    assert result.exit_code == 2
    assert problem in result.output


def test_a_folder_that_is_not_there_is_named_at_once(tmp_path: Path) -> None:
    result = fit("--prices", "unread.csv", "--out", tmp_path / "none" / "forecaster.json")

    assert result.exit_code == 2
    assert "there is no folder" in result.output


def test_a_forced_candidate_is_in_the_artefact_and_in_the_report(
    prices: Path, tmp_path: Path
) -> None:
    out = tmp_path / "forecaster.json"

    result = fit("--prices", prices, "--out", out, "--candidate", "20=with drift")

    assert result.exit_code == 0, result.output
    told = "; forced and not chosen: 'with drift' at 20 bars"
    assert load_forecaster(out).fitted_on.endswith(told)
    page = Page((tmp_path / "forecaster.report.html").read_text())
    row = next(row for row in page.rows if row and row[0] == "with drift")
    assert [cell.endswith("forced") for cell in row[1:]] == [False, False, True]


def test_help_names_every_candidate() -> None:
    assert tuple(each.name for each in candidates_of(news=True)) == CANDIDATES
    said = " ".join(fit("--help").output.replace("│", " ").split())
    assert all(name in said for name in CANDIDATES)


def test_a_symbol_that_is_not_there_is_named(prices: Path, tmp_path: Path) -> None:
    result = fit("--prices", prices, "--symbols", "A,Z", "--out", tmp_path / "f.json")

    assert isinstance(result.exception, DataError)
    assert "has no symbol 'Z'" in str(result.exception)
    assert not list(tmp_path.iterdir())
