"""A forecaster and its competitors on the same forecasts, horizon by horizon."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import HORIZONS_BARS, WINDOW_BARS
from megatick_server.forecast import Forecast, Forecaster
from megatick_server.volatility import ewma_volatility
from megatick_training.errors import EvaluationError
from megatick_training.evaluation.competitors import (
    AUTO_ETS,
    DRIFT,
    PRICE_ONLY,
    RANDOM_WALK,
    auto_ets,
    drift,
    price_only,
    random_walk,
)
from megatick_training.evaluation.diebold_mariano import DieboldMariano, diebold_mariano
from megatick_training.evaluation.investment import (
    Excess,
    Performance,
    Rule,
    excess,
    hold_all,
    invest,
    performance,
)
from megatick_training.evaluation.leakage import refuse_skill_on_shuffled
from megatick_training.evaluation.metrics import (
    COVERAGES,
    Coverage,
    Direction,
    PriceErrors,
    crps,
    direction,
    interval_coverage,
    level_column,
    pinball_losses,
    price_errors,
)
from megatick_training.forecasting.windows import Windows, dates_of

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Scores:
    """What one forecaster was worth.

    Attributes:
        name: whose forecasts.
        forecasts: how many were judged.
        price: errors of the median as a price.
        pinball: mean pinball loss of the log return over the levels.
        crps: mean continuous ranked probability score of the log return.
        coverage: of the central intervals of ``COVERAGES``, by the forecasts that have any
            width: of a price that has stood still there is none, and whatever goes on
            standing still would count as covered at each level.
    """

    name: str
    forecasts: int
    price: PriceErrors
    pinball: float
    crps: float
    coverage: tuple[Coverage, ...]


@dataclass(frozen=True)
class Versus:
    """The forecaster against a competitor, on forecasts that both made.

    Attributes:
        ours: the forecaster's scores there.
        theirs: the competitor's.
        test: that our pinball loss is the smaller.
    """

    ours: Scores
    theirs: Scores
    test: DieboldMariano


@dataclass(frozen=True)
class AtHorizon:
    """How the forecaster did at one horizon.

    Attributes:
        horizon_bars: the horizon.
        dates: on which it forecast.
        scores: its own, on every forecast.
        direction: of its P(up).
        versus: by competitor.
    """

    horizon_bars: int
    dates: int
    scores: Scores
    direction: Direction
    versus: Mapping[str, Versus]


@dataclass(frozen=True)
class Invested:
    """What a rule earned on the forecasts of one bar, beside holding all symbols.

    Attributes:
        rule: when a symbol is held.
        ours: with the rule.
        held: always invested, at the same costs.
        excess: the rule over holding.
    """

    rule: Rule
    ours: Performance
    held: Performance
    excess: Excess


def judge_forecaster(
    forecaster: Forecaster,
    windows: Windows,
    said: Forecast,
    *,
    auto_ets_rows: int = 0,
    progress: Callable[[str], None] = lambda doing: None,
) -> tuple[AtHorizon, ...]:
    """Judge a forecaster that was fitted on none of these rows.

    Args:
        forecaster: as the server loads it.
        windows: rows to judge, those without an outcome left out horizon by horizon.
        said: its forecasts of them, by the server's own code.
        auto_ets_rows: how many to compare with AutoETS at most, evenly spread dates of
            every symbol; 0 leaves that comparison out.
        progress: is told what is being done.

    Raises:
        EvaluationError: too few dates, or horizons that the windows have not.
        LeakageError: it tells up from down where outcomes are dealt out at random.
    """
    if forecaster.horizons_bars != HORIZONS_BARS:
        raise EvaluationError(
            "the forecaster's horizons", f"{HORIZONS_BARS}", f"{forecaster.horizons_bars}"
        )
    ours = said.quantiles.astype(np.float64)
    theirs = {
        RANDOM_WALK: random_walk(said),
        DRIFT: drift(said, windows),
        PRICE_ONLY: price_only(forecaster, windows) if windows.state.any() else ours,
    }
    rows = _spread(windows, auto_ets_rows)
    if rows.any():
        progress(f"fitting AutoETS to {rows.sum()} windows")
        theirs[AUTO_ETS] = np.full_like(ours, np.nan)
        theirs[AUTO_ETS][rows] = auto_ets(forecaster, windows.take(rows))
    judged = []
    for index, bars in enumerate(HORIZONS_BARS):
        progress(f"judging {bars} bars")
        p_up = said.p_up[:, index].astype(np.float64)
        judged.append(
            _at_horizon(
                forecaster,
                windows,
                index,
                ours=ours[:, index],
                p_up=p_up,
                theirs={name: each[:, index] for name, each in theirs.items()},
            )
        )
    return tuple(judged)


def judge_investment(said: Forecast, windows: Windows, rule: Rule) -> Invested:
    """Follow a rule on P(up) at one bar of forecasts of these rows, over all symbols."""
    index = [windows.at, windows.symbols]
    p_up = pd.Series(said.p_up[:, 0].astype(np.float64), index=index).unstack()
    returns = pd.Series(np.expm1(windows.returns[:, 0]), index=index).unstack()
    earned, traded = invest(rule.positions(p_up), returns, cost_bps=rule.cost_bps)
    held, bought = invest(hold_all(p_up), returns, cost_bps=rule.cost_bps)
    return Invested(
        rule=rule,
        ours=performance(earned, traded),
        held=performance(held, bought),
        excess=excess(earned, held),
    )


def _at_horizon(
    forecaster: Forecaster,
    windows: Windows,
    index: int,
    *,
    ours: Float64Array,
    p_up: Float64Array,
    theirs: Mapping[str, Float64Array],
) -> AtHorizon:
    bars = HORIZONS_BARS[index]
    came = ~np.isnan(windows.returns[:, index])
    ended = windows.take(came)
    returns = ended.returns[:, index]
    refuse_skill_on_shuffled(lambda _: p_up[came], returns, ended.at)
    levels = np.array(forecaster.levels)
    volatility = ewma_volatility(windows.closes, decay=forecaster.ewma_decay)

    def scored(name: str, quantiles: Float64Array, rows: BoolArray) -> _Scored:
        return _score(
            name,
            windows.take(rows),
            index,
            quantiles=quantiles[rows],
            levels=levels,
            volatility=volatility[rows],
        )

    whole = scored("forecaster", ours, came)

    def versus(name: str) -> Versus:
        rows = came & ~np.isnan(theirs[name]).any(axis=1)
        here = whole if (rows == came).all() else scored("forecaster", ours, rows)
        there = scored(name, theirs[name], rows)
        both = windows.take(rows)
        return Versus(
            ours=here.scores,
            theirs=there.scores,
            test=diebold_mariano(
                _by_date(both, here.losses),
                _by_date(both, there.losses),
                horizon=dates_of(bars, at=both.at, until=both.until),
            ),
        )

    return AtHorizon(
        horizon_bars=bars,
        dates=len(np.unique(ended.at)),
        scores=whole.scores,
        direction=direction(
            p_up[came],
            returns,
            ended.at,
            horizon=dates_of(bars, at=ended.at, until=ended.until),
        ),
        versus={name: versus(name) for name in theirs},
    )


@dataclass(frozen=True)
class _Scored:
    """Scores, and each row's pinball loss, shape (rows,)."""

    scores: Scores
    losses: Float64Array


def _score(
    name: str,
    windows: Windows,
    index: int,
    *,
    quantiles: Float64Array,
    levels: Float64Array,
    volatility: Float64Array,
) -> _Scored:
    """Score the quantiles of the rows of one horizon, shape (rows, Q)."""
    returns = windows.returns[:, index]
    last = windows.closes[:, -1].astype(np.float64)
    median = quantiles[:, level_column(levels, 0.5)]
    wide = quantiles[:, 0] < quantiles[:, -1]
    if not wide.any():
        raise EvaluationError(
            f"forecasts of {HORIZONS_BARS[index]} bars by {name}",
            f"some of a price that moved within {WINDOW_BARS} closes",
            "none",
            "Judge other symbols, or other dates.",
        )
    losses = pinball_losses(returns, quantiles, levels)  # (rows, Q)
    scores = Scores(
        name=name,
        forecasts=len(windows),
        price=price_errors(last * np.exp(returns), last * np.exp(median)),
        pinball=float(losses.mean()),
        crps=float(crps(losses, levels).mean()),
        coverage=tuple(
            interval_coverage(
                returns[wide],
                quantiles[wide],
                levels,
                nominal=nominal,
                symbols=windows.symbols[wide],
                volatility=volatility[wide],
            )
            for nominal in COVERAGES
        ),
    )
    return _Scored(scores, losses.mean(axis=1))


def _by_date(windows: Windows, losses: Float64Array) -> Float64Array:
    """Shape (dates, symbols), NaN where a symbol has none."""
    table = pd.Series(losses, index=[windows.at, windows.symbols]).unstack()
    return table.to_numpy(np.float64)


def _spread(windows: Windows, most: int) -> BoolArray:
    """Every row of dates that are evenly spread, together at most so many."""
    dates = np.unique(windows.at)
    kept = int(most * len(dates) / max(len(windows), 1))
    if not kept:
        return np.zeros(len(windows), np.bool_)
    chosen: BoolArray = np.isin(windows.at, dates[:: math.ceil(len(dates) / kept)])
    return chosen
