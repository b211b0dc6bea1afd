from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from megatick_contract import HORIZONS_BARS, LEVELS
from megatick_decisions.asking import Outlook
from megatick_decisions.page.prices import SHOWN_SYMBOLS, price_section, price_table

SYMBOLS = tuple(f"S{place:02d}" for place in range(SHOWN_SYMBOLS + 3))


def outlook(symbols: tuple[str, ...]) -> Outlook:
    """Forecasts of symbols whose last close is their place, from 1."""
    shape = (len(symbols), len(HORIZONS_BARS))
    quantiles = np.tile(np.linspace(-0.03, 0.03, len(LEVELS)), (*shape, 1))
    return Outlook(
        symbols=symbols,
        last_price=np.arange(1.0, len(symbols) + 1),
        last_at=pd.DatetimeIndex(["2020-03-31"] * len(symbols), tz="UTC"),
        horizons_bars=HORIZONS_BARS,
        levels=LEVELS,
        quantiles=quantiles,
        baseline_quantiles=quantiles,
        p_up=np.full(shape, 0.5),
        edge=np.zeros(len(HORIZONS_BARS), np.bool_),
        edge_p_value=np.full(len(HORIZONS_BARS), 0.5),
        half_life_s=1.0,
        bar_s=86_400.0,
    )


def closes_of(symbols: tuple[str, ...]) -> pd.DataFrame:
    index = pd.date_range("2020-01-01", "2020-03-31", tz="UTC")
    return pd.DataFrame(1.0, index, list(symbols))


def test_what_is_held_comes_first_the_largest_before_the_others() -> None:
    values = pd.Series({"S13": 10.0, "S05": -30.0, "S02": 10.0})

    table = price_table(outlook(SYMBOLS), values)
    section = price_section(outlook(SYMBOLS), closes_of(SYMBOLS), values)

    others = [symbol for symbol in SYMBOLS if symbol not in values]
    assert table["symbol"].tolist() == ["S05", "S13", "S02", *others]
    assert table["last close"].tolist()[:4] == [6.0, 14.0, 3.0, 1.0]
    assert section.figure is not None
    drawn = [axis.get_title() for axis in section.figure.axes]
    assert drawn == ["S05", "S13", "S02", *others[: SHOWN_SYMBOLS - 3]]
    assert f"of the first {SHOWN_SYMBOLS} of {len(SYMBOLS)}" in section.text


@pytest.mark.parametrize("count", [1, SHOWN_SYMBOLS])
def test_alike_they_stay_in_order_and_few_are_all_drawn(count: int) -> None:
    symbols = SYMBOLS[:count]
    values = pd.Series(1000.0, list(symbols))

    section = price_section(outlook(symbols), closes_of(symbols), values)

    assert section.figure is not None
    titles = [axis.get_title() for axis in section.figure.axes if axis.get_visible()]
    assert tuple(titles) == symbols
    assert "of the first" not in section.text
