"""Range and volume of a symbol's bars, by hand."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from megatick_training.errors import EvaluationError
from megatick_training.forecasting.bar_features import BAR_FEATURES, bar_features
from megatick_training.forecasting.windows import Windows, make_windows

BARS = 100
DAYS = pd.date_range("2020-01-01", periods=BARS, tz="UTC")
ROWS = BARS - 64  # 63 bars before the first window, one after the last


def table(values: object) -> pd.DataFrame:
    return pd.DataFrame({"A": np.broadcast_to(np.asarray(values, float), BARS)}, DAYS)


@pytest.fixture
def closes() -> pd.DataFrame:
    return table(np.arange(100.0, 200.0))


@pytest.fixture
def bars(closes: pd.DataFrame) -> dict[str, pd.DataFrame]:
    return {
        "open": closes * math.exp(-0.01),
        "high": closes * math.exp(0.005),
        "low": closes * math.exp(-0.015),
        "close": closes,
        "volume": table(1000.0),
    }


@pytest.fixture
def windows(closes: pd.DataFrame) -> Windows:
    return make_windows(closes, news=None, half_life_s=1.0)


def features(
    closes: pd.DataFrame, bars: dict[str, pd.DataFrame], windows: Windows
) -> dict[str, npt.NDArray[np.float64]]:
    return bar_features(closes, bars, windows, volatility=np.full(ROWS, 0.01))


def test_a_range_that_stays_has_the_published_variance(
    closes: pd.DataFrame, bars: dict[str, pd.DataFrame], windows: Windows
) -> None:
    found = features(closes, bars, windows)

    parkinson = 0.02**2 / (4 * math.log(2))
    garman_klass = 0.02**2 / 2 - (2 * math.log(2) - 1) * 0.01**2
    for bars_back in (5, 20):
        for name, variance in (("parkinson", parkinson), ("garman_klass", garman_klass)):
            np.testing.assert_allclose(
                found[f"{name}_{bars_back}"], math.log(math.sqrt(variance) / 0.01)
            )
    assert found.keys() == BAR_FEATURES.keys()


def test_the_latest_bars_count_up_to_the_forecasts_own(
    closes: pd.DataFrame, bars: dict[str, pd.DataFrame], windows: Windows
) -> None:
    volume = np.ones(BARS)
    volume[70] = 6.0
    found = features(closes, {**bars, "volume": table(volume)}, windows)["volume_5"]

    # Bar 70 is in row 7's window as its last; of five bars until row 11, of 64 to the end.
    week, window = 5 / 5, 64 / 64
    np.testing.assert_allclose(found[:7], math.log(week / window))
    np.testing.assert_allclose(found[7:12], math.log((10 / 5) / (69 / 64)))
    np.testing.assert_allclose(found[12:], math.log(week / (69 / 64)))


def test_what_comes_later_changes_nothing(
    closes: pd.DataFrame, bars: dict[str, pd.DataFrame], windows: Windows
) -> None:
    later = np.where(np.arange(BARS) > 80, 3.0, 1.0)
    other = {**bars, "high": bars["high"].mul(later, axis=0), "volume": table(later)}

    before, after = (features(closes, each, windows) for each in (bars, other))

    for name in before:
        same = before[name] == after[name]
        assert same[: 80 - 63 + 1].all(), name
        assert not same[80 - 63 + 1], name


@pytest.mark.parametrize("field", ["high", "low"])
def test_a_bar_that_lacks_something_leaves_its_rows_unknown(
    closes: pd.DataFrame, bars: dict[str, pd.DataFrame], windows: Windows, field: str
) -> None:
    gap = bars[field].copy()
    gap.iloc[75] = 0.0  # some vendors write this where they know nothing
    found = features(closes, {**bars, field: gap}, windows)

    unknown = ~np.isfinite(found["parkinson_5"])
    assert list(np.flatnonzero(unknown)) == list(range(12, 17))
    assert np.isfinite(found["volume_5"]).all()


def test_only_bars_with_a_close_count(
    closes: pd.DataFrame, bars: dict[str, pd.DataFrame], windows: Windows
) -> None:
    holiday = closes.copy()
    holiday.iloc[90] = np.nan
    high = bars["high"].copy()
    high.iloc[90] *= 9

    shorter = make_windows(holiday, news=None, half_life_s=1.0)
    found = bar_features(
        holiday, {**bars, "high": high}, shorter, volatility=np.full(ROWS - 1, 0.01)
    )

    assert np.ptp(found["parkinson_5"]) == pytest.approx(0)


def test_columns_that_are_not_there_give_nothing(
    closes: pd.DataFrame, bars: dict[str, pd.DataFrame], windows: Windows
) -> None:
    del bars["open"], bars["volume"]

    assert features(closes, bars, windows).keys() == {"parkinson_5", "parkinson_20"}


def test_a_high_below_its_low_is_refused(
    closes: pd.DataFrame, bars: dict[str, pd.DataFrame], windows: Windows
) -> None:
    bars["high"].iloc[3] = 1.0

    with pytest.raises(
        EvaluationError, match=r"bar of A at 2020-01-04.*low, 101.*found 1\."
    ):
        features(closes, bars, windows)
