from __future__ import annotations

import math
from dataclasses import replace

import pandas as pd
import pytest

from megatick_decisions.losses import LossMeasures
from megatick_decisions.page.risks import holdings_table, risk_table
from megatick_decisions.risk import HorizonRisk, PortfolioRisk, SimulatedRisk


def simulated(*, var_99_interval: tuple[float, float]) -> SimulatedRisk:
    return SimulatedRisk(
        measures=LossMeasures(1.0, 900.0, 1500.0, 1200.0, 1400.0),
        var_95_interval=(800.0, 950.0),
        var_99_interval=var_99_interval,
        components=pd.Series({"A": 1400.0}),
        stand_alone=pd.Series({"A": 1400.0}),
        diversification=1.0,
    )


@pytest.mark.parametrize(
    ("interval", "said"),
    [((1234.4, 2000.0), "1,234–2,000"), ((1234.4, math.inf), "≥1,234")],
)
def test_the_interval_stands_beside_its_value_at_risk(
    interval: tuple[float, float], said: str
) -> None:
    each = HorizonRisk(
        horizon_bars=1,
        forecast=simulated(var_99_interval=interval),
        baseline=simulated(var_99_interval=(1.0, 2.0)),
        historical=None,
    )
    at = pd.date_range("2020-01-01", periods=2, tz="UTC")

    table = risk_table(PortfolioRisk(20_000.0, 0.0, (each,), at))

    assert table["interval"].tolist() == [said, "1–2"]
    assert table["VaR 99"].tolist() == [1500, 1500]


def test_a_small_book_keeps_the_decimals_of_its_losses() -> None:
    measures = LossMeasures(0.00012, 0.0091, 0.0152, 0.0121, 0.0143)
    by = replace(
        simulated(var_99_interval=(0.0123, 0.02)),
        measures=measures,
        components=pd.Series({"A": 0.0143}),
        stand_alone=pd.Series({"A": 0.0143}),
    )
    each = HorizonRisk(horizon_bars=1, forecast=by, baseline=by, historical=None)
    at = pd.date_range("2020-01-01", periods=2, tz="UTC")
    risk = PortfolioRisk(0.5, 0.5, (each,), at)

    held = holdings_table(risk, pd.Series({"A": 0.5}))
    row = risk_table(risk).iloc[0]

    assert held["value"].tolist() == [0.5]
    assert held["adds, 1"].tolist() == held["alone, 1"].tolist() == [0.0143]
    assert (row["expected"], row["VaR 95"], row["VaR 99"]) == (0.0001, 0.0091, 0.0152)
    assert row["interval"] == "0.0123–0.0200"
