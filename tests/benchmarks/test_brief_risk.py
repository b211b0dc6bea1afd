from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from brief_risk import books, judge

from megatick_contract import LEVELS
from megatick_decisions.scenarios import PastForecasts

SCENARIOS = 199


def test_a_book_by_hand() -> None:
    """199 misses of 1 to 199 basis points, then 20 bars: losses of 300, 195.5, 1."""
    moves = np.concatenate([np.arange(1.0, SCENARIOS + 1), np.ones(20)])
    moves[[-15, -5]] = 300, 195.5
    returns = np.log1p(-moves[:, None] / 1e4)
    quantiles = np.tile(np.linspace(-0.03, 0.03, len(LEVELS)), (len(moves), 1, 1))
    past = PastForecasts(
        ("A",),
        pd.date_range("2020-01-01", periods=len(moves), tz="UTC"),
        quantiles,
        quantiles,
        returns,
    )

    found = judge(pd.Series({"A": 1e4}), past, bars=20, scenarios=SCENARIOS)

    # The 195th of 199 stands for 97.5 %, the 198th for 99 %.  One loss of 1 after another
    # takes the place of the 1st, the 2nd, …, until the 300 is among them: then the 196th
    # and the 199th stand there.  So 195.5, above what had stood there, is not above that.
    assert found.var_975.observed == 1
    assert found.backtest.var_99.observed == 1
    # The worst 2.5 % are 4.975 of them: 199 to 196 and 0.975 times 195.
    shortfall = (199 + 198 + 197 + 196 + 0.975 * 195) / 4.975
    assert found.over_shortfall == pytest.approx(300 / shortfall)
    # Each of 198 less what came, 1 % of it; after the 300, of 199; 99 % of 300 less 198.
    no_loss = 5 * (198 - 1) + 13 * (199 - 1) + (199 - 195.5)
    assert found.tick_loss == pytest.approx((0.01 * no_loss + 0.99 * (300 - 198)) / 20)


def test_every_second_symbol_is_short() -> None:
    held = {name: values.to_list() for name, values in books(["A", "B", "C"])}

    assert held == {
        "equal": [1000.0, 1000.0, 1000.0],
        "long and short": [1000.0, -1000.0, 1000.0],
        "short": [-1000.0, -1000.0, -1000.0],
    }
