from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from html_page import Page
from served import Served
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_cli.bar_closes import clock, named
from megatick_cli.brief import Files
from megatick_client import Client
from megatick_contract import MegatickError
from megatick_decisions.errors import AnotherModel

BARS = 230
SYMBOLS = ["A", "B", "C"]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``prices.csv``, ``news.csv`` and ``holdings.csv`` of three symbols, one short."""
    folder = tmp_path_factory.mktemp("brief")
    days = pd.bdate_range("2020-01-01", periods=BARS)
    steps = np.random.default_rng(0).normal(0, 0.02, (BARS, len(SYMBOLS)))
    prices = pd.DataFrame(100 * np.exp(steps.cumsum(axis=0)), days, SYMBOLS)
    prices.rename_axis("date").to_csv(folder / "prices.csv")
    news = ["symbol,published_at,text"]
    for place, day in enumerate(days[20:-1]):
        symbol = SYMBOLS[place % 2]  # nothing is written about C
        news.append(f"{symbol},{day:%Y-%m-%d}T12:00:00Z,profit rose by {place}")
    (folder / "news.csv").write_text("\n".join(news) + "\n")
    (folder / "holdings.csv").write_text("symbol,value\nA,1000\nB,-500\n")
    return folder


def brief(files: Path, served: Served, *more: str) -> tuple[dict[str, object], Page, str]:
    """Run it; gives what it printed as JSON, its page, and what it told besides."""
    result = CliRunner().invoke(
        app,
        [
            "brief",
            f"--prices={files / 'prices.csv'}",
            f"--out={files / 'brief.html'}",
            f"--address={served.server.endpoints.grpc}",
            "--close-time=21:00",
            "--json",
            *more,
        ],
        catch_exceptions=False,
    )
    assert result.exit_code == 0
    return (
        json.loads(result.stdout),
        Page((files / "brief.html").read_text()),
        result.stderr,
    )


@pytest.mark.triton
def test_the_forecasts_are_the_servers_of_the_last_closes_and_all_news(
    files: Path, served: Served
) -> None:
    said, _, _ = brief(files, served, f"--news={files / 'news.csv'}")

    closes = pd.read_csv(files / "prices.csv", index_col=0)
    assert said["as_of_utc"] == f"{closes.index[-1]}T21:00:00+00:00"
    forecasts = said["forecasts"]
    assert isinstance(forecasts, list)
    assert [each["symbol"] for each in forecasts] == SYMBOLS
    with Client(served.server.endpoints.grpc) as client:
        told = client.forecast(closes["C"].to_numpy())  # of which there is no news
    np.testing.assert_allclose(forecasts[2]["quantiles"], told.quantiles, rtol=1e-6)
    assert forecasts[2]["last_price"] == closes["C"].iloc[-1]


@pytest.mark.triton
def test_the_page_has_every_part(files: Path, served: Served) -> None:
    said, page, _ = brief(
        files,
        served,
        f"--news={files / 'news.csv'}",
        f"--holdings={files / 'holdings.csv'}",
        "--backtest-bars=60",
    )

    assert page.fetched == []
    assert [row[0] for row in page.rows if row[0] in SYMBOLS].count("C") == 1  # its price
    assert ["symbol", "value", "of gross, %"] in [row[:3] for row in page.rows]
    assert isinstance(said["risk"], dict)
    low, high = said["risk"]["horizons"][0]["forecast"]["var_99_interval"]
    risks = next(row for row in page.rows if row[:2] == ["1", "the forecasts"])
    assert f"≥{low:,.0f}" in risks
    assert high is None  # 166 scenarios do not tell it: all lose less in 19 % of cases
    assert ["95%", "60"] in [row[:2] for row in page.rows]
    assert {"negative", "neutral", "positive"} <= {row[0] for row in page.rows}
    data = [row[0] for row in page.rows[-3:]]
    assert data == ["prices", "news", "holdings"]


@pytest.mark.triton
def test_scores_that_the_file_has_are_not_asked_for_again(
    files: Path, served: Served, tmp_path: Path
) -> None:
    lines = ["symbol,published_at,score", "A,2020-11-16T12:00:00Z,-1"]
    (tmp_path / "scored.csv").write_text("\n".join(lines) + "\n")

    said, _, _ = brief(files, served, f"--news={tmp_path / 'scored.csv'}")

    mood = said["mood"]
    assert isinstance(mood, dict)
    assert -1 < mood["by_symbol"]["A"] < 0
    assert mood["symbols"] == 1


@pytest.mark.triton
def test_texts_about_symbols_without_prices_count_for_nothing_and_are_told(
    files: Path, served: Served, tmp_path: Path
) -> None:
    lines = ["symbol,published_at,score", "A,2020-06-01T12:00:00Z,-1"]
    lines += ["Z,2020-06-01T12:00:00Z,1", "Z,2021-06-01T12:00:00Z,1"]
    (tmp_path / "more.csv").write_text("\n".join(lines) + "\n")

    said, _, _ = brief(files, served, f"--news={tmp_path / 'more.csv'}")

    mood = said["mood"]
    assert isinstance(mood, dict)
    assert mood["symbols"] == 1
    assert list(mood["by_symbol"]) == ["A"]
    assert said["texts_without_closes"] == {"Z": 1}
    assert said["as_of_utc"] == "2020-11-17T21:00:00+00:00"  # and no text about Z
    told = "Left out, 1 text about symbols without two closes by then: Z."
    assert told in (files / "brief.html").read_text()


@pytest.mark.triton
def test_a_price_that_stands_still_is_named_and_so_is_the_model(
    files: Path, served: Served, tmp_path: Path
) -> None:
    prices = pd.read_csv(files / "prices.csv", index_col=0)
    prices.assign(FLAT=7.0).to_csv(tmp_path / "prices.csv")

    said, _, _ = brief(files, served, f"--prices={tmp_path / 'prices.csv'}")

    assert said["symbols_without_width"] == ["FLAT"]
    assert "a forecast reads: FLAT;" in (files / "brief.html").read_text()
    assert said["model_digest"] == served.receipt.model_digest
    assert served.receipt.model_digest[:12] in (files / "brief.html").read_text()


@pytest.mark.triton
def test_a_brief_of_two_models_is_none(
    files: Path, served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask = Client.forecast

    def forecast(self: Client, *args: Any, **given: Any) -> Any:
        told = ask(self, *args, **given)
        return replace(told, reply=replace(told.reply, model_digest="another"))

    asked = [f"--prices={files / 'prices.csv'}", f"--news={files / 'news.csv'}"]
    asked += [f"--out={tmp_path / 'o.html'}", f"--address={served.server.endpoints.grpc}"]

    with monkeypatch.context() as patched:
        patched.setattr(Client, "forecast", forecast)
        result = CliRunner().invoke(app, ["brief", *asked])

    assert result.exit_code == 1
    assert isinstance(result.exception, AnotherModel)
    assert not (tmp_path / "o.html").exists()


@pytest.mark.triton
def test_without_news_and_with_little_history_it_says_what_there_is_not(
    files: Path, served: Served
) -> None:
    said, page, told = brief(files, served, "--as-of=2020-02-03")

    mood = said["mood"]
    assert isinstance(mood, dict)
    assert mood["mood"] is None
    assert said["risk"] is None
    assert not any("of gross, %" in row for row in page.rows)
    assert "no risk: " in told
    assert "expected at least 164, found 23" in " ".join(told.split())

    _, _, told = brief(files, served, "--backtest-bars=5")

    assert "no backtest: " in told
    assert "expected at least 20" in " ".join(told.split())


@pytest.mark.triton
def test_nothing_after_the_moment_is_read(files: Path, served: Served) -> None:
    cut = pd.read_csv(files / "prices.csv", index_col=0)
    cut.loc["2020-05-01":] *= 3  # a later split, say: it must not change a thing
    (files / "later").mkdir(exist_ok=True)
    cut.to_csv(files / "later" / "prices.csv")
    asked = ["--as-of=2020-04-30T22:00:30", f"--news={files / 'news.csv'}"]

    before, _, _ = brief(files, served, *asked)
    after, _, _ = brief(files, served, *asked, f"--prices={files / 'later' / 'prices.csv'}")

    assert before == after


def test_a_quantity_is_worth_what_it_traded_at_whatever_was_adjusted_since(
    tmp_path: Path,
) -> None:
    lines = ["symbol,date,close,adj_close"]  # split 4 to 1 before the last bar
    lines += ["A,2020-01-01,40,10", "A,2020-01-02,44,11", "A,2020-01-03,12,12"]
    (tmp_path / "prices.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "held.csv").write_text("symbol,quantity\nA,5\n")
    files = Files(tmp_path / "prices.csv", holdings=tmp_path / "held.csv")

    before = files.read(closes_at=clock("21:00"), as_of=datetime(2020, 1, 2, 22))
    after = files.read(closes_at=clock("21:00"))

    assert before.values.to_dict() == {"A": 5 * 44.0}
    assert before.closes["A"].tolist() == [10.0, 11.0]
    assert after.values.to_dict() == {"A": 5 * 12.0}


def test_of_the_news_too_only_the_symbols_asked_for_are_read(files: Path) -> None:
    known = Files(files / "prices.csv", files / "news.csv").read(
        symbols=["A"], closes_at=clock("21:00")
    )

    assert list(known.closes) == ["A"]
    assert set(known.headlines.rows["symbol"]) == {"A"}


def test_a_server_that_is_started_for_it_is_not_protected(files: Path) -> None:
    asked = [f"--prices={files / 'prices.csv'}", "--out=o.html", "--repository=r", "--tls"]

    result = CliRunner().invoke(app, ["brief", *asked])

    assert result.exit_code == 2
    assert "not protected" in result.stderr


def test_a_page_that_cannot_be_written_is_told_at_once(files: Path) -> None:
    for out in (files, files / "absent" / "brief.html"):
        asked = [
            f"--prices={files / 'prices.csv'}",
            f"--out={out}",
            "--address=127.0.0.1:1",
        ]

        result = CliRunner().invoke(app, ["brief", *asked])

        assert result.exit_code == 2
        assert "--out" in result.stderr


def test_a_symbol_asked_for_twice_is_read_once() -> None:
    assert named("B, A,B") == ["B", "A"]
    assert named(None) == []


def test_a_server_that_is_not_there_is_named(files: Path) -> None:
    result = CliRunner().invoke(
        app,
        [
            "brief",
            f"--prices={files / 'prices.csv'}",
            f"--out={files / 'none.html'}",
            "--address=127.0.0.1:1",
        ],
    )

    assert result.exit_code == 1
    assert isinstance(result.exception, MegatickError)
    assert "127.0.0.1:1" in str(result.exception)
    assert not (files / "none.html").exists()
