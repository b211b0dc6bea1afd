"""``megatick evaluate-stocknet`` on a folder of the data set's shape."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner, Result

from megatick_cli.app import app
from megatick_training.errors import EvaluationError

SHIPPED = Path(__file__).parents[2] / (
    "model_repository/shared/price_forecast/1/forecaster.json"
)
DAYS = pd.date_range("2013-10-01", "2015-09-30", name="date")
LAST_MOVES = {
    "AAPL": [0.006, 0.005, -0.004, -0.006],  # up, none, none, down
    "GE": [0.0, 0.5, 0.3, -0.2],  # nothing moved, then up, up, down
}


@pytest.fixture(scope="module")
def prices(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One file a ticker with the data set's columns, joined as the command wants them.

    Of August and September 2015 only the last four days move.
    """
    folder = tmp_path_factory.mktemp("stocknet")
    raw = folder / "price" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for ticker, last in LAST_MOVES.items():
        moves = rng.normal(scale=0.02, size=len(DAYS))
        moves[-61:-4] = 0
        moves[-4:] = last
        adjusted = 100 * np.cumprod(1 + moves)
        split = np.where(np.arange(len(DAYS)) >= len(DAYS) - 2, 0.5, 1.0)
        columns = {
            "Date": DAYS.strftime("%Y-%m-%d"),
            "Open": adjusted,
            "High": adjusted,
            "Low": adjusted,
            "Close": adjusted * split,  # whoever reads this sees a crash
            "Adj Close": adjusted,
            "Volume": 1000,
        }
        pd.DataFrame(columns).to_csv(raw / f"{ticker}.csv", index=False)
    tables = [
        pd.read_csv(file).assign(ticker=file.stem) for file in sorted(raw.glob("*.csv"))
    ]
    pd.concat(tables).to_csv(folder / "prices.csv", index=False)
    return folder / "prices.csv"


@pytest.fixture(scope="module")
def tweets(prices: Path) -> Path:
    days = DAYS[::3]
    rows = {
        "ticker": "AAPL",
        "published_at": days.strftime("%Y-%m-%dT12:00:00Z"),
        "score": np.random.default_rng(1).uniform(-1, 1, len(days)),
    }
    pd.DataFrame(rows).to_csv(prices.with_name("tweets.csv"), index=False)
    return prices.with_name("tweets.csv")


def judged(prices: Path, *more: str) -> Result:
    asked = ["evaluate-stocknet", f"--prices={prices}", f"--forecaster={SHIPPED}", *more]
    return CliRunner().invoke(app, asked, env={"COLUMNS": "160"})


def test_both_sets_of_days_are_judged_by_adjusted_closes(
    prices: Path, tweets: Path
) -> None:
    result = judged(prices, f"--news={tweets}", "--json")

    scores = {(e["days"], e["predictor"]): e for e in json.loads(result.stdout)}
    assert [predictor for _, predictor in scores][:4] == [
        "always up",
        "the forecaster",
        "logistic regression on prices",
        "logistic regression on prices and news",
    ]
    published = scores["as published", "always up"]
    every = scores["every day that moved", "always up"]
    assert (published["labelled"], published["up_share"]) == (5, 3 / 5)
    assert (every["labelled"], every["up_share"]) == (7, 4 / 7)
    assert every["direction"]["accuracy"] == 4 / 7
    # The shipped one knows no direction: without calls there is no accuracy.
    shipped = scores["as published", "the forecaster"]["direction"]
    assert (shipped["calls"], shipped["accuracy"]) == (0, None)


def test_it_prints_a_row_a_predictor(prices: Path) -> None:
    result = judged(prices)

    assert result.exit_code == 0, result.output
    assert "StockNet, dev days" in result.stdout
    assert result.stdout.count("always up") == 2
    assert "and news" not in result.stdout


def test_it_names_what_it_leaves_out(prices: Path, tweets: Path, tmp_path: Path) -> None:
    table = pd.read_csv(prices)
    short = table[table["ticker"] == "GE"].head(64).assign(ticker="NEW")
    pd.concat([table, short]).to_csv(tmp_path / "prices.csv", index=False)
    told = pd.read_csv(tweets)
    other = told.head(5).assign(ticker="aapl")
    pd.concat([told, other]).to_csv(tmp_path / "tweets.csv", index=False)

    result = judged(tmp_path / "prices.csv", f"--news={tmp_path / 'tweets.csv'}", "--json")

    assert "Left out, with no more than 64 closes: NEW." in result.stderr
    assert f"Left out, 5 of {len(told) + 5} texts, about other symbols" in result.stderr
    assert "aapl" in result.stderr
    assert len(json.loads(result.stdout)) == 8  # two sets of days, four predictors


def test_days_that_are_not_there_are_missed(prices: Path) -> None:
    result = judged(prices, "--part=test")

    assert isinstance(result.exception, EvaluationError)
    assert "StockNet's test days: expected some from 2015-10-01" in str(result.exception)


def test_a_clock_that_is_none_is_bad_usage(prices: Path) -> None:
    result = judged(prices, "--close-time=9pm")

    assert result.exit_code == 2
    assert "expected HH:MM, found '9pm'" in result.stderr
