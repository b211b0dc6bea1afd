"""A whole brief, from a real server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from served import Served

from megatick_client import Client, Forecasts, SentimentState
from megatick_contract import WINDOW_BARS
from megatick_decisions.backtest import backtest_risk
from megatick_decisions.briefing import Brief, make_brief
from megatick_decisions.errors import AnotherModel
from megatick_decisions.known import Known, know
from megatick_decisions.one_model import OneModel
from megatick_decisions.page.sections import in_short, sections
from megatick_decisions.risk import portfolio_risk
from megatick_decisions.scenarios import PastForecasts
from megatick_training.headlines import Headlines

BARS = 230
PAST = 25


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Client]:
    with Client(served.server.endpoints.grpc) as client:
        yield client


@pytest.fixture(scope="module")
def known() -> Known:
    """Two symbols, of unlike size and volatility; a text about the second."""
    times = pd.date_range("2020-01-01T21:00", periods=BARS, tz="UTC")
    steps = np.random.default_rng(0).normal(0, [0.01, 0.03], (BARS, 2))
    closes = pd.DataFrame([100, 5] * np.exp(steps.cumsum(axis=0)), times, ["A", "B"])
    texts = pd.DataFrame(
        {
            "symbol": ["B"],
            "published_at": [times[-1] - pd.Timedelta(hours=3)],
            "text": ["up"],
            "score": [0.75],
        }
    )
    return know(closes, Headlines(texts))


@pytest.fixture(scope="module")
def made(client: Client, known: Known) -> Brief:
    return brief(client, known, backtest_bars=PAST)


def brief(client: Client, known: Known, *, backtest_bars: int) -> Brief:
    return make_brief(
        client,
        known,
        backtest_bars=backtest_bars,
        model=OneModel(),
        progress=lambda _: None,
    )


@pytest.mark.triton
def test_each_symbol_is_forecast_from_its_closes_and_its_own_news(
    client: Client, known: Known, made: Brief, monkeypatch: pytest.MonkeyPatch
) -> None:
    outlook = made.outlook
    asked: list[dict[str, Any]] = []  # of news, which the shipped forecaster does not heed
    forecast = client.forecast

    def recorded(prices: Any, **given: Any) -> Any:
        asked.append(given)
        return forecast(prices, **given)

    with monkeypatch.context() as patched:
        patched.setattr(client, "forecast", recorded)
        brief(client, known, backtest_bars=0)
    told = forecast(
        {symbol: known.closes[symbol].to_numpy()[-WINDOW_BARS:] for symbol in "AB"}
    )

    assert asked[1] == {  # after one that asks for the half-life, before bars gone by
        "sentiment_state": (SentimentState(), SentimentState(0.75, 1.0, 0.75, 1)),
        "elapsed_s": [0.0, 3 * 3600.0],
        "timings": True,
    }
    assert outlook.symbols == ("A", "B")
    for row, each in enumerate(told):
        np.testing.assert_array_equal(outlook.quantiles[row], each.quantiles)
        np.testing.assert_array_equal(outlook.p_up[row], each.p_up)
    assert outlook.last_price.tolist() == known.closes.iloc[-1].tolist()


@pytest.mark.triton
def test_past_bars_are_forecast_from_what_was_known_then(
    client: Client, known: Known, made: Brief
) -> None:
    backtest = made.backtest
    assert backtest is not None
    at = known.closes.index[WINDOW_BARS - 1 : -1]  # each has 64 closes, and a bar after it

    told = [
        client.forecast(
            [known.closes.loc[:moment, symbol].to_numpy()[-WINDOW_BARS:] for moment in at]
        )
        for symbol in known.values.index
    ]

    past = PastForecasts(
        symbols=tuple(known.values.index),
        at=pd.DatetimeIndex(at),
        quantiles=np.stack([[each.quantiles[0] for each in of] for of in told], axis=1),
        baseline_quantiles=np.stack(
            [[each.baseline_quantiles[0] for each in of] for of in told], axis=1
        ),
        returns=known.closes.apply(np.log).diff().shift(-1).loc[at].to_numpy(),
    )
    expected = backtest_risk(known.values, past, bars=PAST)
    assert len(backtest.bars) == PAST
    pd.testing.assert_frame_equal(backtest.bars, expected.bars, check_freq=False)
    risk = portfolio_risk(
        known.values,
        known.closes,
        past,
        quantiles=made.outlook.quantiles,
        baseline_quantiles=made.outlook.baseline_quantiles,
    )
    assert made.risk is not None
    for found, each in zip(made.risk.horizons, risk.horizons, strict=True):
        for one, other in (
            (found.forecast, each.forecast),
            (found.baseline, each.baseline),
        ):
            assert asdict(one.measures) == pytest.approx(asdict(other.measures))


@pytest.mark.triton
def test_mood_ends_as_of_now_and_risk_adds_up(made: Brief, known: Known) -> None:
    assert made.mood.market.index[-1] == known.as_of
    assert made.mood.symbols["B"].iloc[-1] > 0
    assert made.impact is not None
    assert made.impact.events["reaction"].notna().sum() == 1
    assert made.risk is not None
    for each in made.risk.horizons:
        total = each.forecast.components.sum()
        assert total == pytest.approx(each.forecast.measures.es_975)


@pytest.mark.triton
def test_the_page_says_what_ended_what_is_left_out_and_what_is_assumed(
    client: Client, known: Known, made: Brief
) -> None:
    closes = known.closes.set_axis(pd.DatetimeIndex(known.closes.index).normalize())
    closes.loc[closes.index[-5:], "A"] = np.nan
    published = [closes.index[0] - pd.Timedelta(days=1), closes.index[50], closes.index[50]]
    texts = pd.DataFrame(
        {"symbol": ["B", "B", "C"], "published_at": published, "text": "up", "score": 0.5}
    )
    ended = know(closes.assign(NONE=np.nan), Headlines(texts))
    hours = pd.date_range("2020-01-01", periods=70, freq="h", tz="UTC")
    hourly = know(closes.iloc[:70].set_axis(hours), Headlines.none())

    found = brief(client, ended, backtest_bars=PAST)
    said = {part.title: part.text for part in sections(found, ended)}
    usual = {part.title: part.text for part in sections(made, known)}
    unlike = in_short(brief(client, hourly, backtest_bars=0), hourly)[0]

    assert "Without a close for 5 bars or more: A;" in said["In short"]
    assert f"the last close is of {closes.index[-1]:%Y-%m-%d %H:%M}" in said["In short"]
    assert (
        "Left out, without two closes by then, which a forecast needs: NONE."
        in said["In short"]
    )
    assert f"begun at the close of {closes.index[-7]:%Y-%m-%d}, " in said["In short"]
    assert "Give --close-time." in said["In short"]
    assert (
        "Left out, 1 text about symbols without two closes by then: C." in said["In short"]
    )
    assert "In none: 1 text with no close before" in said["News impact"]
    assert "No holdings were given" in said["Portfolio"]
    first, last = closes.index[[WINDOW_BARS - 1, -7]]
    assert f"from {first:%Y-%m-%d} to {last:%Y-%m-%d}: where" in said["Risk"]
    assert "Without a close" not in usual["In short"]
    assert "Give --close-time." not in usual["In short"]
    assert "Left out" not in usual["In short"]
    assert "of bars of 86,400 s, and these last 3,600 s:" in unlike
    assert "and these last" not in usual["In short"]
    assert "In none" not in usual["News impact"]


@pytest.mark.triton
def test_what_cannot_be_is_told_and_the_rest_is_there(client: Client, known: Known) -> None:
    short = know(known.closes.iloc[:30], Headlines.none())
    longer = know(known.closes.iloc[: WINDOW_BARS + 110], Headlines.none())

    without_risk = brief(client, short, backtest_bars=PAST)
    untested = brief(client, longer, backtest_bars=PAST)
    unasked = brief(client, longer, backtest_bars=0)

    assert without_risk.risk is None
    assert "expected at least 164, found 30" in without_risk.why_no_risk
    assert without_risk.outlook.symbols == ("A", "B")
    assert without_risk.impact is None
    assert untested.risk is not None
    assert untested.backtest is None
    assert len(untested.risk.scenarios_at) == 110  # of which 100 go before
    assert "expected at least 20" in untested.why_no_backtest
    assert "found 10" in untested.why_no_backtest
    assert unasked.backtest is None
    assert "not asked for" in unasked.why_no_backtest


@pytest.mark.triton
def test_a_price_that_stands_still_is_named_with_what_that_does_to_its_risk(
    client: Client, known: Known, made: Brief
) -> None:
    closes = known.closes.assign(FLAT=3.0, SLOW=known.closes["A"].to_numpy() * 2)
    closes.loc[closes.index[-8:], "SLOW"] = closes["SLOW"].iloc[-8]  # 7 bars without a move
    closes.loc[closes.index[:100], "SLOW"] *= 10  # and a split before that
    flat = know(closes, Headlines.none())

    found = brief(client, flat, backtest_bars=0)
    said = {part.title: part.text for part in sections(found, flat)}
    usual = {part.title: part.text for part in sections(made, known)}

    assert found.outlook.without_width == ("FLAT",)
    assert found.risk is not None
    assert found.risk.horizons[0].forecast.stand_alone["FLAT"] == 0
    assert "all the closes that a forecast reads: FLAT; their" in said["In short"]
    assert "At one price for 5 bars or more: SLOW (7); their" in said["In short"]
    assert f" on {closes.index[100]:%Y-%m-%d}): if that is a split" in said["In short"]
    assert "No risk is counted of FLAT: all the closes" in said["Portfolio"]
    assert "forecast reads" not in usual["In short"]
    assert "At one price" not in usual["In short"]
    assert "split" not in usual["In short"]
    assert "No risk is counted" not in usual["Portfolio"]


@pytest.mark.triton
def test_both_levels_of_the_backtest_stand_in_short(made: Brief, known: Known) -> None:
    assert made.backtest is not None
    profits, bars = made.backtest.bars["profit"], made.backtest.bars
    below = [int((-profits > bars[name]).sum()) for name in ("var_95", "var_99")]

    said = in_short(made, known)[-1]

    assert PAST == 25  # so that 1.25 and 0.25 are expected
    assert f"{below[0]} lost more than the value at risk at 95 %, where 1.3 are" in said
    assert f"{below[1]} more than that at 99 %, where 0.3 are" in said


@pytest.mark.triton
@pytest.mark.parametrize("answer", [0, 1, 2])
def test_answers_of_two_models_make_no_brief(
    client: Client, known: Known, monkeypatch: pytest.MonkeyPatch, answer: int
) -> None:
    """The half-life, the forecasts of now, those of bars gone by: each may be another's."""
    forecast, calls = client.forecast, iter(range(9))

    def reloaded(prices: Any, **given: Any) -> Any:
        told = forecast(prices, **given)
        if next(calls) != answer:
            return told
        rows = told if isinstance(told, Forecasts) else [told]
        last = replace(rows[-1], reply=replace(rows[-1].reply, model_digest="b" * 64))
        return last if told is not rows else Forecasts((*rows[:-1], last))

    monkeypatch.setattr(client, "forecast", reloaded)

    with pytest.raises(AnotherModel, match=r"answers with .*b{12}.*Ask again"):
        brief(client, known, backtest_bars=0)
