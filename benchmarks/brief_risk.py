"""How often losses exceeded the risk that the brief forecasts, of three books.

    python benchmarks/brief_risk.py PRICES --repository R [--symbols A,B] [--bars 1950]

The forecasts are the served ones, asked for as `megatick brief` asks, without news; the
books hold 1,000 of each symbol, or every second one short, or all short.  Beside what the
brief's own backtest tells stand the value at risk at 97.5 %, how large losses above it were
beside its expected shortfall, and the tick loss at 99 %, to compare `--scenarios` by.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import pandas as pd
import typer
from rich.console import Console
from rich.table import Table

from megatick_client import Client
from megatick_decisions.asking import forecast_past, half_life_of
from megatick_decisions.backtest import RiskBacktest, backtest_risk, outcomes_at
from megatick_decisions.exceedances import Exceedances, judge_exceedances
from megatick_decisions.known import HELD_BY_DEFAULT
from megatick_decisions.losses import expected_shortfall, value_at_risk
from megatick_decisions.one_model import OneModel
from megatick_decisions.scenarios import SCENARIOS, PastForecasts, forecast_bars
from megatick_server.launcher import ServeOptions, TritonServer
from megatick_training.evaluation.metrics import pinball_losses
from megatick_training.forecasting.news import News
from megatick_training.prices import read_closes

_ES_LEVEL: Final = 0.975
_TICK_LEVEL: Final = np.array([0.99])


@dataclass(frozen=True)
class Judged:
    """How one book's risk held.

    Attributes:
        backtest: as the brief has it.
        var_975: losses above the value at risk at 97.5 %.
        over_shortfall: the mean of these losses, each over the expected shortfall at 97.5 %
            that was forecast for its bar; NaN where there is none.
        tick_loss: mean pinball loss of the value at risk at 99 %, money.
    """

    backtest: RiskBacktest
    var_975: Exceedances
    over_shortfall: float
    tick_loss: float


def judge(
    values: pd.Series[float], past: PastForecasts, *, bars: int, scenarios: int
) -> Judged:
    """Judge a book's risk at bars gone by; takes and raises what ``backtest_risk`` does.

    Source:
        Tick loss: Giacomini and Komunjer, "Evaluation and combination of conditional
        quantile forecasts", Journal of Business and Economic Statistics 23 (2005).
    """
    backtest = backtest_risk(values, past, bars=bars, scenarios=scenarios)
    losses = -backtest.bars["profit"].to_numpy()
    first = len(past.at) - len(losses)
    outcomes = list(outcomes_at(values, past, first=first, scenarios=scenarios))
    var = np.array([value_at_risk(each, level=_ES_LEVEL) for each in outcomes])
    shortfall = np.array([expected_shortfall(each, level=_ES_LEVEL) for each in outcomes])
    above = losses > var
    var_99 = backtest.bars[["var_99"]].to_numpy()
    return Judged(
        backtest=backtest,
        var_975=judge_exceedances(above, level=_ES_LEVEL),
        over_shortfall=float((losses / shortfall)[above].mean()) if above.any() else np.nan,
        tick_loss=float(pinball_losses(losses, var_99, _TICK_LEVEL).mean()),
    )


def books(symbols: list[str]) -> Iterator[tuple[str, pd.Series[float]]]:
    """Name the three books, and say what each holds."""
    equal = pd.Series(HELD_BY_DEFAULT, symbols)
    signs = np.where(np.arange(len(symbols)) % 2, -1.0, 1.0)
    yield from (("equal", equal), ("long and short", equal * signs), ("short", -equal))


def main(
    prices: Annotated[Path, typer.Argument(help="As `megatick brief --prices`.")],
    repository: Annotated[Path, typer.Option(help="What `megatick export` wrote.")],
    symbols: Annotated[str | None, typer.Option(metavar="A,B,…")] = None,
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="No later close, UTC.")
    ] = None,
    bars: Annotated[int, typer.Option(help="To judge, of the latest.")] = 250,
    scenarios: Annotated[int, typer.Option(help="Bars gone by to take.")] = SCENARIOS,
) -> None:
    """Print a row a book."""
    closes = read_closes(prices, symbols=symbols.split(",") if symbols else ())
    if as_of is not None:
        closes = closes[closes.index <= pd.Timestamp(as_of, tz="UTC")]
    at = forecast_bars(closes, list(closes.columns), most=scenarios + bars)
    options, model = ServeOptions(grpc_port=0, metrics_port=None), OneModel()
    with (
        TritonServer(repository, options) as server,
        Client(server.endpoints.grpc, timeout_s=120.0) as client,
    ):
        past = forecast_past(
            client,
            closes,
            News({}),
            at=at,
            half_life_s=half_life_of(client, model=model),
            model=model,
        )
    table = Table("book", "95 %", "97.5 %", "99 %", "over the ES", "tick loss, 99 %")
    for name, values in books(list(closes.columns)):
        found = judge(values, past, bars=bars, scenarios=scenarios)
        judged = (found.backtest.var_95, found.var_975, found.backtest.var_99)
        told = (f"{found.over_shortfall:.2f}", f"{found.tick_loss:.3f}")
        table.add_row(name, *map(_said, judged), *told)
    console = Console(highlight=False)
    console.print(
        f"{closes.shape[1]} symbols, {len(found.backtest.bars):,} bars from "
        f"{found.backtest.bars.index[0]:%Y-%m-%d} to "
        f"{found.backtest.bars.index[-1]:%Y-%m-%d}, {scenarios} scenarios, model "
        f"{model.digest:.12}; losses above the VaR, of those expected, with Kupiec's p and "
        "Christoffersen's"
    )
    console.print(table)


def _said(each: Exceedances) -> str:
    return (
        f"{each.observed} of {each.expected:.1f} ({each.coverage.p_value:.3f}, "
        f"{each.independence.p_value:.2f})"
    )


if __name__ == "__main__":
    typer.run(main)
