from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest

from megatick_decisions.errors import HoldingsError, TooFewCloses
from megatick_decisions.scenarios import PastForecasts, common_closes, forecast_bars

Float64Array = npt.NDArray[np.float64]


def closes_of(symbols: str, *, rows: int) -> pd.DataFrame:
    index = pd.date_range("2024-01-01", periods=rows, freq="D", tz="UTC")
    moves = np.random.default_rng(1).normal(0, 0.01, (rows, len(symbols)))
    return pd.DataFrame(
        100 * np.exp(moves.cumsum(axis=0)), index=index, columns=list(symbols)
    )


def rows_of(closes: pd.DataFrame, symbols: str, *, most: int = 1000) -> list[int]:
    """Rows that ``forecast_bars`` gives."""
    found = forecast_bars(closes, list(symbols), most=most)
    rows: list[int] = closes.index.get_indexer(found).tolist()
    return rows


def past(returns: Float64Array, quantiles: Float64Array) -> PastForecasts:
    """Forecasts of A, B, … at as many days; the random walk's are twice as wide."""
    at = pd.date_range("2024-01-01", periods=len(returns), freq="D", tz="UTC")
    symbols = tuple("ABC"[: returns.shape[1]])
    return PastForecasts(symbols, at, quantiles, 2 * quantiles, returns)


def test_64_closes_go_before_and_one_after() -> None:
    closes = closes_of("AB", rows=200)

    assert rows_of(closes, "AB") == [*range(63, 199)]
    assert rows_of(closes, "AB", most=10) == [*range(189, 199)]


def test_a_bar_is_a_close_of_all_that_is_held() -> None:
    closes = closes_of("ABC", rows=250)
    closes.iloc[150, 1] = np.nan  # B's holiday
    closes.iloc[:20, 0] = np.nan  # A is listed later,
    closes.iloc[241:, 0] = np.nan  # and no longer
    closes.iloc[100:, 2] = np.nan  # C is not held

    assert rows_of(closes, "AB") == [*range(83, 150), *range(151, 240)]


def test_164_closes_are_enough_and_163_are_not() -> None:
    closes = closes_of("AB", rows=164)

    assert len(rows_of(closes, "AB")) == 100
    with pytest.raises(TooFewCloses, match=r"found 163 \(A has 163, B has 163\)"):
        forecast_bars(closes.iloc[1:], ["A", "B"], most=1000)


def test_a_symbol_with_too_few_closes_is_named() -> None:
    closes = closes_of("ABC", rows=300)
    closes.iloc[:259, 1] = np.nan  # 41 are left

    with pytest.raises(TooFewCloses) as refused:
        forecast_bars(closes, ["A", "B", "C"], most=1000)

    assert str(refused.value) == (
        "closes that all held symbols have at the same times: expected at least 164, found "
        "41 (B has 41).  Give a longer history, or leave those symbols out."
    )


def test_symbols_that_trade_at_different_times_are_named() -> None:
    closes = closes_of("AB", rows=400)
    closes.iloc[:200, 0] = np.nan
    closes.iloc[200:, 1] = np.nan

    with pytest.raises(TooFewCloses, match=r"found 0 \(A has 200, B has 200\)"):
        forecast_bars(closes, ["A", "B"], most=1000)


def test_a_symbol_without_closes_is_named() -> None:
    with pytest.raises(HoldingsError, match="symbols with closes, found D"):
        common_closes(closes_of("AB", rows=2), ["A", "D"])


def test_each_return_is_held_against_its_own_forecast() -> None:
    quantiles = np.array([[[-0.01, 0.01], [-0.02, 0.02]], [[-0.04, 0.04], [0.0, 0.02]]])
    found = past(np.array([[-0.02, 0.0], [0.0, 0.03]]), quantiles)

    np.testing.assert_allclose(found.residuals(), [[-0.5, 0.5], [0.5, 1.5]])
    # Twice as wide: ±0.02, ±0.04, ±0.08 and 0 to 0.04.
    np.testing.assert_allclose(
        found.residuals(baseline=True), [[0.0, 0.5], [0.5, 0.75]], atol=1e-12
    )
    swapped = found.of(["B", "A"])
    assert swapped.symbols == ("B", "A")
    np.testing.assert_allclose(swapped.residuals(), [[0.5, -0.5], [1.5, 0.5]])
    assert swapped.residuals(baseline=True)[1, 0] == pytest.approx(0.75)


def test_a_move_out_of_nothing_has_no_measure() -> None:
    quantiles = np.tile([-0.01, 0.01], (103, 2, 1))
    quantiles[3, 1] = 0.0  # B has stood still: it moves at bar 3,
    quantiles[4, 1] = 0.0  # stays at bar 4,
    quantiles[5, 1] *= 1e-3  # and has all but stood still at bar 5
    returns = np.full((103, 2), 0.005)
    returns[4, 1] = 0.0
    found = past(returns, quantiles)

    assert np.flatnonzero(~found.measurable()).tolist() == [3, 5]
    quantiles[:3, 1] = 0.0  # which leaves 98
    with pytest.raises(TooFewCloses, match=r"at least 100, found 98 \(most .* to B\)"):
        past(returns, quantiles).measurable()
