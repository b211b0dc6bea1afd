"""``Client.forecast`` against a real Triton; the stand-in's quantile q (from 0) at horizon
h is (q - 3) * h / 1000, its baseline the first close it was sent, and its P_UP (bars from
that close to the window's end / 64, elapsed seconds / 1000, texts of the state / 1000)."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from megatick_client import BadRequest, Client, Forecast, Forecasts, SentimentState

pytestmark = pytest.mark.triton


def test_one_history_gives_one_forecast(client: Client) -> None:
    forecast = client.forecast([9.0, 10.0])

    assert isinstance(forecast, Forecast)
    assert forecast.symbol is None
    assert forecast.last_price == 10.0
    assert forecast.horizons_bars == (1, 5, 20)
    assert forecast.levels == (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)
    expected = [[(q - 3) * h / 1000 for q in range(7)] for h in (1, 5, 20)]
    np.testing.assert_allclose(forecast.quantiles, expected, rtol=1e-6)
    assert forecast.edge.tolist() == [False, False, True]
    assert forecast.edge_p_value.tolist() == [0.5, 0.25, 0.03125]
    assert (forecast.bar_s, forecast.half_life_s) == (86_400, 7_200)


@pytest.mark.parametrize(
    ("closes", "bars", "first"),
    [
        pytest.param(range(5, 8), 3, 5, id="short-is-padded"),
        pytest.param(range(1, 65), 64, 1, id="64-go-as-they-are"),
        pytest.param(range(1, 101), 64, 37, id="long-keeps-the-last-64"),
    ],
)
def test_window(client: Client, closes: range, bars: int, first: int) -> None:
    forecast = client.forecast(list(closes))

    assert forecast.p_up[0] == bars / 64
    assert forecast.baseline_quantiles[0, 0] == first
    assert forecast.last_price == closes[-1]


@pytest.mark.parametrize(
    "closes",
    [
        pytest.param([9.0, pd.NA], id="list"),
        pytest.param(pd.Series([9.0, pd.NA], dtype="Float64"), id="series"),
        pytest.param(
            pd.DataFrame({"ACME": pd.Series([9.0, pd.NA], dtype="Float64"), "B": [1, 2]}),
            id="frame",
        ),
    ],
)
def test_what_pandas_misses_is_a_missing_bar(client: Client, closes: Any) -> None:
    """The stand-in's baseline is the first close, its P_UP tells how long ago that was."""
    forecasts = client.forecast(closes)
    forecast = forecasts if isinstance(forecasts, Forecast) else forecasts[0]

    assert forecast.last_price == forecast.baseline_quantiles[0, 0] == 9.0
    assert forecast.p_up[0] == 2 / 64


def test_last_price_is_the_last_that_is_known(client: Client) -> None:
    assert client.forecast([3.0, 4.0, float("nan")]).last_price == 4


@pytest.mark.parametrize(
    ("prices", "symbols"),
    [
        pytest.param([[1, 2], [3, 4]], [None, None], id="rows"),
        pytest.param([[2], [1, 3, 4]], [None, None], id="rows-of-unlike-lengths"),
        pytest.param(np.array([[1, 2], [3, 4]]), [None, None], id="array"),
        pytest.param({"A": [1, 2], "B": [3, 4]}, ["A", "B"], id="mapping"),
        pytest.param(pd.DataFrame({"A": [1, 2], "B": [3, 4]}), ["A", "B"], id="frame"),
        pytest.param(pa.table({"A": [1, 2], "B": [3, 4]}), ["A", "B"], id="arrow"),
        pytest.param(
            {"A": pa.array([1, 2]), "B": pa.array([3, 4])}, ["A", "B"], id="arrow-arrays"
        ),
    ],
)
def test_many_histories(
    client: Client, prices: list[list[float]], symbols: list[str]
) -> None:
    forecasts = client.forecast(prices)

    assert isinstance(forecasts, Forecasts)
    assert [forecast.last_price for forecast in forecasts] == [2, 4]
    assert [forecast.symbol for forecast in forecasts] == symbols


_RISING = pd.Series([1.0, 2.0], index=pd.date_range("2026-11-26", periods=2))
_FALLING = _RISING[::-1]


@pytest.mark.parametrize(
    ("prices", "rows"),
    [
        pytest.param(_FALLING, (), id="series"),
        pytest.param(_FALLING.to_frame(), (), id="frame"),
        pytest.param({"A": _RISING, "B": _FALLING}, (1,), id="mapping"),
        pytest.param([_FALLING, _RISING], (0,), id="rows"),
    ],
)
def test_newest_first_is_refused(client: Client, prices: Any, rows: tuple[int]) -> None:
    with pytest.raises(
        BadRequest, match=r"2026-11-27 .* back to .*: sort_index\(\)"
    ) as error:
        client.forecast(prices)
    assert error.value.rows == rows


def test_a_series_names_its_symbol(client: Client) -> None:
    forecast = client.forecast(pd.Series([1.0, 2.0], name="ACME"))

    assert (forecast.symbol, forecast.last_price) == ("ACME", 2)


def test_state_and_elapsed_reach_the_server(client: Client) -> None:
    """P_UP[1:] gives them back, over 1000."""
    forecasts = client.forecast(
        [[1.0], [2.0]],
        sentiment_state=[SentimentState(texts=250), SentimentState(texts=500)],
        elapsed_s=[125, 750],
    )

    assert [f.p_up[1:].tolist() for f in forecasts] == [[0.125, 0.25], [0.75, 0.5]]


def test_price_quantiles_and_interval(client: Client) -> None:
    """80 % lies between levels 0.1 and 0.9: (1 - 3) and (5 - 3) times 20 / 1000."""
    forecast = client.forecast([100.0])

    interval = forecast.interval(20, coverage=0.8)

    assert interval.low_price == pytest.approx(100 * exp(-0.04))
    assert interval.high_price == pytest.approx(100 * exp(0.04))
    np.testing.assert_allclose(
        forecast.price_quantiles()[0], [100 * exp((q - 3) / 1000) for q in range(7)]
    )


@pytest.mark.parametrize(
    ("horizon_bars", "coverage", "message"),
    [
        pytest.param(3, 0.8, r"expected one of \(1, 5, 20\), found 3", id="horizon"),
        pytest.param("5", 0.8, "found '5'", id="text"),
        pytest.param(5, 0.7, "expected one of .* found 0.7", id="coverage"),
        pytest.param(5, -0.8, "found -0.8", id="its-ends-the-wrong-way-round"),
        pytest.param(5, 0, "found 0", id="no-width"),
        pytest.param(5, float("nan"), "found nan", id="nan"),
        pytest.param(5, "0.8", "expected a number, found '0.8'", id="coverage-as-text"),
    ],
)
def test_interval_invents_nothing(
    client: Client, horizon_bars: Any, coverage: float, message: str
) -> None:
    with pytest.raises(BadRequest, match=message):
        client.forecast([1.0]).interval(horizon_bars, coverage)


def test_frame_is_tidy(client: Client) -> None:
    """2 symbols x 3 horizons x 7 levels; row 8 is A's second level at the second horizon,
    (1 - 3) * 5 / 1000; row 41 is B's last, (6 - 3) * 20 / 1000."""
    frame = client.forecast({"A": [1.0], "B": [0.5]}).to_frame()

    assert len(frame) == 42
    cells = frame.iloc[8][["row", "symbol", "horizon_bars", "level", "log_return"]]
    assert cells.to_list() == [0, "A", 5, 0.1, pytest.approx(-0.01)]
    assert frame.iloc[41].to_dict() == {
        "row": 1,
        "symbol": "B",
        "horizon_bars": 20,
        "level": 0.95,
        "log_return": pytest.approx(0.06),
        "price": pytest.approx(0.5 * exp(0.06)),
        "baseline_log_return": 0.5,
        "baseline_price": pytest.approx(0.5 * exp(0.5)),
    }


def test_no_histories_give_no_rows(client: Client) -> None:
    forecasts = client.forecast(pd.DataFrame())

    assert len(forecasts) == 0
    assert len(forecasts.to_frame()) == 0


def test_the_servers_refusal_names_the_row(client: Client) -> None:
    prices = [[1.0]] * 260 + [[float("nan")]]

    with pytest.raises(BadRequest) as refused:
        client.forecast(prices)

    # It is the fifth of the second request.
    assert [(r.row, r.field) for r in refused.value.rejections] == [(260, "PRICES")]


@pytest.mark.parametrize("rows", [1, 257], ids=["one-request", "two-requests"])
def test_forecasts_cannot_be_changed(client: Client, rows: int) -> None:
    forecasts = client.forecast([[1.0]] * rows)

    with pytest.raises(ValueError, match="read-only"):
        forecasts[0].quantiles[0, 0] = 1
