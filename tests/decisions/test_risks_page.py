from __future__ import annotations

import math

import pandas as pd
import pytest

from megatick_decisions.losses import LossMeasures
from megatick_decisions.page.risks import risk_table
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
