from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from html_page import Page
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_training.errors import EvaluationError, LeakageError

SHIPPED = Path(__file__).parents[2] / (
    "model_repository/shared/price_forecast/1/forecaster.json"
)


@pytest.fixture
def prices(tmp_path: Path) -> Path:
    days = pd.date_range("2020-01-01", periods=200, name="date")
    moves = np.random.default_rng(0).normal(scale=0.01, size=(200, 2))
    closes = pd.DataFrame(50 * np.exp(moves.cumsum(axis=0)), days, columns=["A", "B"])
    closes.to_csv(tmp_path / "prices.csv")
    return tmp_path / "prices.csv"


@pytest.fixture
def forecaster(tmp_path: Path) -> Path:
    document = json.loads(SHIPPED.read_text()) | {"fitted_until": "2020-03-31"}
    (tmp_path / "forecaster.json").write_text(json.dumps(document))
    return tmp_path / "forecaster.json"


def arguments(prices: Path, forecaster: Path, *more: str) -> list[str]:
    given = {"prices": prices, "forecaster": forecaster, "out": prices.parent / "out.html"}
    return ["evaluate", *(f"--{k}={v}" for k, v in given.items()), *more]


def test_it_reports(prices: Path, forecaster: Path) -> None:
    asked = arguments(prices, forecaster, "--json", "--auto-ets-rows=20")

    result = CliRunner().invoke(app, asked, catch_exceptions=False)

    document = json.loads(result.stdout)
    first = document["horizons"][0]
    assert first["horizon_bars"] == 1
    # From 21 April, 20 bars after March, to 17 July, the last with a bar after it.
    assert first["dates"] == 88
    assert set(first["versus"]) == {"random walk", "drift", "price only", "AutoETS"}
    assert document["invested"]["rule"]["cost_bps"] == 10
    page = Page((prices.parent / "out.html").read_text())
    assert page.fetched == []
    shown = [row for row in page.rows if row[:2] == ["1", "random walk"]]
    assert shown[0][3] == f"{first['scores']['pinball'] * 1e4:.4g}"


def test_a_folder_that_is_not_there_is_named_at_once(prices: Path) -> None:
    missing = prices.parent / "none" / "out.html"
    asked = ["evaluate", f"--prices={prices}", "--forecaster=unread.json"]

    result = CliRunner().invoke(app, [*asked, f"--out={missing}"], env={"COLUMNS": "250"})

    assert result.exit_code == 2
    assert f"there is no folder {missing.parent}" in result.output


def test_it_names_what_it_leaves_out(prices: Path, forecaster: Path) -> None:
    table = pd.read_csv(prices)
    table.assign(C=table["A"].where(table.index < 64)).to_csv(prices, index=False)

    result = CliRunner().invoke(
        app, arguments(prices, forecaster, "--auto-ets-rows=0"), catch_exceptions=False
    )

    assert "Left out, with no more than 64 closes: C." in result.stderr
    assert "and these last" not in result.stderr


@pytest.mark.parametrize(("year", "told"), [("2020", False), ("2030", True)])
def test_news_that_reach_no_forecast_are_told(
    prices: Path, forecaster: Path, year: str, told: bool
) -> None:
    news = prices.parent / "news.csv"
    news.write_text(f"symbol,published_at,score\nA,{year}-04-25T12:00:00Z,0.5\n")
    asked = arguments(prices, forecaster, "--auto-ets-rows=0", f"--news={news}")

    result = CliRunner().invoke(app, asked, catch_exceptions=False)

    assert ("No text was published before a forecast" in result.stderr) == told


def test_a_split_that_closes_are_not_adjusted_for_is_told(
    prices: Path, forecaster: Path
) -> None:
    table = pd.read_csv(prices)
    table.loc[150:, "B"] /= 4
    table.to_csv(prices, index=False)

    result = CliRunner().invoke(
        app, arguments(prices, forecaster, "--auto-ets-rows=0"), catch_exceptions=False
    )

    told = " ".join(result.stderr.split())
    move = table["B"][150] / table["B"][149]
    assert f"within a bar moved B ({move:.2g} on 2020-05-30): if that is a split" in told


def test_it_says_that_bars_are_of_another_length(prices: Path, forecaster: Path) -> None:
    table = pd.read_csv(prices)
    hours = pd.date_range("2020-04-01", periods=len(table), freq="h", tz="UTC")
    table.assign(date=hours.astype(str)).to_csv(prices, index=False)

    result = CliRunner().invoke(
        app, arguments(prices, forecaster, "--auto-ets-rows=0"), catch_exceptions=False
    )

    told = " ".join(result.stderr.split())
    assert "one of bars of 86,400 s, and these last 3,600 s:" in told


def test_it_prints_tables(prices: Path, forecaster: Path) -> None:
    asked = arguments(prices, forecaster, "--auto-ets-rows=0")

    result = CliRunner().invoke(app, asked, catch_exceptions=False)

    for title in ("Against its competitors", "Coverage, %", "Direction", "Investment"):
        assert title in result.stdout


@pytest.fixture
def long_prices(tmp_path: Path) -> Path:
    """300 bars of two symbols, with every column."""
    days = pd.date_range("2020-01-01", periods=300, name="date")
    rng = np.random.default_rng(0)
    parts = []
    for symbol in ("A", "B"):
        close = 50 * np.exp(rng.normal(scale=0.01, size=300).cumsum())
        reach = np.exp(rng.uniform(0.005, 0.02, size=300))
        columns = {
            "symbol": symbol,
            "date": days,
            "open": close * np.exp(rng.normal(scale=0.002, size=300)),
            "high": close * reach,
            "low": close / reach,
            "close": close,
            "volume": rng.uniform(1e6, 2e6, size=300),
        }
        parts.append(pd.DataFrame(columns))
    pd.concat(parts).to_csv(tmp_path / "long.csv", index=False)
    return tmp_path / "long.csv"


def test_ablations_are_reported(long_prices: Path, forecaster: Path) -> None:
    asked = arguments(
        long_prices,
        forecaster,
        "--ablations",
        "--json",
        "--since=2020-07-01",
        "--auto-ets-rows=0",
    )

    result = CliRunner().invoke(app, asked, catch_exceptions=False)

    variants = json.loads(result.stdout)["ablations"]["variants"]
    assert [each["name"] for each in variants[:6]] == [
        "as it is",
        "without sentiment (price only)",
        "without volatility",
        "with Parkinson's range",
        "with Garman and Klass's range",
        "with volume",
    ]
    assert [each["horizon_bars"] for each in variants[::6]] == [1, 5, 20]
    # 1 July is bar 182, and the last of 300 has none after it.
    assert {each["forecasts"] for each in variants[:6]} == {2 * (300 - 182 - 1)}
    page = Page((long_prices.parent / "out.html").read_text())
    assert ["1", "as it is"] in [row[:2] for row in page.rows]
    shown = next(row for row in page.rows if row[:2] == ["1", "with volume"])
    assert shown[-1] == f"{variants[5]['test']['p_value']:.4g}"


def test_columns_that_a_file_lacks_are_told(long_prices: Path, forecaster: Path) -> None:
    wide = long_prices.with_name("wide.csv")
    table = pd.read_csv(long_prices).pivot(index="date", columns="symbol", values="close")
    table.to_csv(wide)
    asked = arguments(
        wide, forecaster, "--ablations", "--since=2020-07-01", "--auto-ets-rows=0"
    )

    result = CliRunner().invoke(app, asked, catch_exceptions=False, env={"COLUMNS": "200"})

    assert "Not tried: with volume.  The price file has no column 'volume'" in result.stderr
    assert "Ablations (losses in 1/10,000)" in result.stdout
    assert "without volatility" in result.stdout
    assert "with volume" not in result.stdout


def test_it_refuses_what_was_fitted_on(prices: Path, forecaster: Path) -> None:
    result = CliRunner().invoke(
        app, arguments(prices, forecaster, "--since=2020-03-01", "--auto-ets-rows=0")
    )

    assert isinstance(result.exception, LeakageError)
    assert not (prices.parent / "out.html").exists()


def test_it_asks_since_when_if_nobody_says(prices: Path, forecaster: Path) -> None:
    document = json.loads(forecaster.read_text()) | {"fitted_until": None}
    forecaster.write_text(json.dumps(document))

    result = CliRunner().invoke(app, arguments(prices, forecaster))

    assert isinstance(result.exception, EvaluationError)
    assert "Give --since" in str(result.exception)
