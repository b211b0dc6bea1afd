"""Refitted families on markets of which it is known what helps."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from megatick_server.forecast import Forecaster
from megatick_training.errors import EvaluationError
from megatick_training.evaluation import ablations
from megatick_training.evaluation.ablations import FULL, Ablations, ablate, family
from megatick_training.evaluation.diebold_mariano import DieboldMariano, diebold_mariano
from megatick_training.forecasting.choice import Fold, walk_fold
from megatick_training.forecasting.periods import between
from megatick_training.forecasting.windows import Windows, make_windows

BARS = 900
DAYS = pd.date_range("2018-01-01", periods=BARS, tz="UTC")
JUDGED_FROM = np.datetime64(DAYS[450].tz_localize(None), "ns")
SYMBOLS = ["A", "B"]

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
Market = tuple[pd.DataFrame, dict[str, pd.DataFrame]]


@pytest.fixture(scope="module")
def market() -> Market:
    """Calm and wild spells of ten bars; the range tells at once, returns only in time."""
    rng = np.random.default_rng(0)
    spells = rng.choice([0.003, 0.03], size=(BARS // 10, len(SYMBOLS))).repeat(10, axis=0)
    closes = pd.DataFrame(
        100 * np.exp((spells * rng.normal(size=spells.shape)).cumsum(axis=0)),
        DAYS,
        SYMBOLS,
    )
    high, low = closes * np.exp(spells), closes * np.exp(-spells)
    volume = pd.DataFrame(1e6 * rng.uniform(1, 2, size=spells.shape), DAYS, SYMBOLS)
    return closes, {"high": high, "low": low, "volume": volume}


@pytest.fixture
def leaning(forecaster: Forecaster) -> Forecaster:
    """Its scale leans on the latest moves at 1 and 5 bars, and on nothing at 20."""
    return forecaster.model_copy(
        update={
            "features": ("absolute_5", "momentum_5"),
            "log_scale": ((0.5, 0.1), (0.5, 0.0), (0.0, 0.0)),
            "location": ((0.0, 0.2), (0.0, 0.0), (0.0, 0.0)),
        }
    )


def ablated(
    forecaster: Forecaster, market: Market, *, judged_from: np.datetime64 = JUDGED_FROM
) -> Ablations:
    closes, bars = market
    windows = make_windows(closes, news=None, half_life_s=86_400.0)
    return ablate(
        forecaster,
        windows,
        windows.take(windows.at >= judged_from),
        closes=closes,
        bars=bars,
        embargo_bars=20,
    )


def test_the_family_is_what_the_file_leans_on(leaning: Forecaster) -> None:
    one, five, twenty = (family(leaning, horizon) for horizon in range(3))

    assert (one.scale, one.location) == (("absolute_5", "momentum_5"), ("momentum_5",))
    assert (five.scale, five.location) == (("absolute_5",), ())
    assert (twenty.scale, twenty.location) == ((), ())
    assert not one.skewed
    low, *rest = leaning.quantiles[0]
    skewed = leaning.model_copy(update={"quantiles": ((low - 1, *rest),) * 3})
    assert family(skewed, 0).skewed


def test_what_helps_is_told_from_what_does_not(leaning: Forecaster, market: Market) -> None:
    found = ablated(leaning, market)

    at_one = {each.name: each for each in found.variants if each.horizon_bars == 1}
    assert list(at_one) == [
        FULL,
        "without sentiment (price only)",
        "without volatility",
        "with Parkinson's range",
        "with volume",
    ]
    losses = {name: each.pinball for name, each in at_one.items()}
    p = {name: each.test.p_value for name, each in at_one.items() if each.test}
    assert at_one[FULL].test is None
    assert (p["without sentiment (price only)"], losses[FULL]) == (
        1,
        losses["without sentiment (price only)"],
    )
    assert losses["without volatility"] > losses[FULL]
    assert p["without volatility"] > 0.95
    assert losses["with Parkinson's range"] < 0.97 * losses[FULL]
    assert p["with Parkinson's range"] < 0.001
    assert p["with volume"] > 0.01
    assert at_one["without volatility"].features == ("momentum_5",)
    # Every bar from the first judged on that has one after it, of both symbols.
    assert {each.forecasts for each in at_one.values()} == {2 * (BARS - 450 - 1)}


def test_moves_overlap_over_more_dates_where_exchanges_close_at_other_hours(
    leaning: Forecaster, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    closes, _ = market
    other = closes.add_prefix("other ").shift(freq=pd.Timedelta(hours=9))
    spanned, borders = [], []

    def test(*losses: Float64Array, horizon: int) -> DieboldMariano:
        spanned.append(horizon)
        return diebold_mariano(*losses, horizon=horizon)

    def rows(
        windows: Windows, start: None, end: pd.Timestamp, *, horizon: int
    ) -> BoolArray:
        borders.append(end)
        return between(windows, start, end, horizon=horizon)

    monkeypatch.setattr(ablations, "diebold_mariano", test)
    monkeypatch.setattr(ablations, "between", rows)
    ablated(leaning, (closes.join(other, how="outer"), {}))

    assert spanned == [2, 2, 10, 10, 40, 40]
    assert borders[0] == DAYS[450 - 20].tz_localize(None)  # the embargo is of bars


def test_it_says_what_was_not_tried_and_why(leaning: Forecaster, market: Market) -> None:
    found = ablated(leaning, market)

    assert list(found.notices) == [
        "Nothing changes without sentiment (price only): the family leans on none of it.",
        "Not tried: with Garman and Klass's range.  The price file has no column 'open' "
        "and no 'close'; a long table may have them.",
    ]


def test_news_that_was_not_given_is_told(forecaster: Forecaster, market: Market) -> None:
    update = {
        "features": ("news_count",),
        "log_scale": ((0.1,),) * 3,
        "location": ((0.0,),) * 3,
    }
    found = ablated(forecaster.model_copy(update=update), (market[0], {}))

    assert found.notices[0].endswith("there was no news to lean on (--news).")


def test_bars_that_lack_volume_are_left_out_of_every_variant(
    leaning: Forecaster, market: Market
) -> None:
    closes, bars = market
    volume = bars["volume"].copy()
    volume.loc[DAYS[700], "A"] = np.nan

    found = ablated(leaning, (closes, {"volume": volume}))

    # 64 windows hold that bar.
    assert found.notices[-1].startswith("64 rows whose bars lack range or volume")
    at_one = [each.forecasts for each in found.variants if each.horizon_bars == 1]
    assert at_one == [2 * (BARS - 450 - 1) - 64] * 4


def test_a_fold_is_fitted_on_what_ended_an_embargo_before_it(
    leaning: Forecaster, market: Market, monkeypatch: pytest.MonkeyPatch
) -> None:
    walked: list[tuple[Any, ...]] = []

    def watched(*given: Any) -> Fold:
        walked.append(given)
        return walk_fold(*given)

    monkeypatch.setattr(ablations, "walk_fold", watched)

    ablated(leaning, (market[0], {}))

    firsts = []
    for sample, before, inside, _, horizon in walked:
        windows: Windows = sample.windows
        last_outcome = windows.until[before, horizon].max()
        first_forecast = windows.at[inside].min()
        # 20 bars are left out, and the outcome comes before them.
        assert first_forecast - last_outcome == np.timedelta64(21, "D")
        firsts.append(first_forecast)
    assert min(firsts) == JUDGED_FROM
    assert len(walked) == 3 * 3 * 5  # horizons, variants, folds


def test_too_little_history_is_refused(leaning: Forecaster, market: Market) -> None:
    early = np.datetime64(DAYS[100].tz_localize(None), "ns")

    with pytest.raises(EvaluationError, match="moves to 1 bars to refit on: expected 100"):
        ablated(leaning, (market[0], {}), judged_from=early)


def test_columns_without_a_value_are_refused(leaning: Forecaster, market: Market) -> None:
    empty = market[1]["volume"] * np.nan

    with pytest.raises(EvaluationError, match="bars with range and volume: expected some"):
        ablated(leaning, (market[0], {"volume": empty}))
