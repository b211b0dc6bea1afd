"""What a forecaster was worth later than everything it was made from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import HORIZONS_BARS
from megatick_server.forecast import Forecaster
from megatick_training.errors import TooLittleHistory
from megatick_training.evaluation.diebold_mariano import DieboldMariano, diebold_mariano
from megatick_training.evaluation.metrics import (
    COVERAGES,
    Coverage,
    interval_coverage,
    pinball_losses,
)
from megatick_training.forecasting.periods import LEAST_ROWS, Periods, between
from megatick_training.forecasting.sample import Sample
from megatick_training.forecasting.windows import dates_of

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]

EDGE_P_VALUE: Final = 0.05
"""An edge is claimed at the 5 % level, or not at all."""


@dataclass(frozen=True)
class Judged:
    """A forecaster beside its random walk, at one horizon, on one set of later moves.

    Attributes:
        moves_of: which set.
        horizon_bars: how far ahead.
        moves: how many.
        coverage: of the central intervals of ``COVERAGES``.
        baseline_coverage: likewise, of the random walk.
        loss: mean pinball loss of the log return.
        baseline_loss: of the random walk.
        test: that the forecaster's loss is the smaller.
    """

    moves_of: str
    horizon_bars: int
    moves: int
    coverage: tuple[Coverage, ...]
    baseline_coverage: tuple[Coverage, ...]
    loss: float
    baseline_loss: float
    test: DieboldMariano

    @property
    def skill(self) -> float:
        """Share of the random walk's loss that is saved."""
        return 1 - self.loss / self.baseline_loss

    @property
    def edge(self) -> bool:
        """Whether it may be said to beat the random walk."""
        return self.test.p_value <= EDGE_P_VALUE and self.skill > 0


def judge(forecaster: Forecaster, sample: Sample, periods: Periods) -> list[Judged]:
    """Judge on later moves: of the symbols never seen, of the others, and of all.

    Returns:
        By set, then by horizon.  The first H are the strictest: of the symbols never
        seen, if some were held out.

    Raises:
        TooLittleHistory: too few moves after ``periods.judge_from``.
        EvaluationError: too few dates among them.
    """
    unseen = periods.unseen(sample.windows)
    sets = {"all symbols": np.ones_like(unseen)}
    if periods.held_out:
        sets = {"symbols never seen": unseen, "symbols fitted on": ~unseen} | sets
    return [
        _judge(forecaster, sample, name, rows, periods.judge_from, horizon)
        for name, rows in sets.items()
        for horizon in range(len(HORIZONS_BARS))
    ]


def _judge(
    forecaster: Forecaster,
    sample: Sample,
    moves_of: str,
    rows: BoolArray,
    start: pd.Timestamp,
    horizon: int,
) -> Judged:
    rows = rows & between(sample.windows, start, None, horizon=horizon)
    if rows.sum() < LEAST_ROWS:
        raise TooLittleHistory(
            f"the judgement on {moves_of}",
            horizon_bars=HORIZONS_BARS[horizon],
            rows=int(rows.sum()),
        )
    later = sample.windows.take(rows)
    forecast = forecaster.forecast(later.closes, later.state, later.elapsed_s)
    returns, levels = later.returns[:, horizon], np.array(forecaster.levels)
    quantiles = forecast.quantiles[:, horizon].astype(np.float64)
    baseline = forecast.baseline_quantiles[:, horizon].astype(np.float64)
    loss, baseline_loss = (
        pinball_losses(returns, each, levels).mean(axis=1) for each in (quantiles, baseline)
    )

    def coverage(each: Float64Array) -> tuple[Coverage, ...]:
        return tuple(
            interval_coverage(
                returns,
                each,
                levels,
                nominal=nominal,
                symbols=later.symbols,
                volatility=sample.to_horizon[rows, 0],
            )
            for nominal in COVERAGES
        )

    def by_date(each: Float64Array) -> Float64Array:
        table = pd.Series(each, index=[later.at, later.symbols]).unstack()
        return table.to_numpy()

    return Judged(
        moves_of=moves_of,
        horizon_bars=HORIZONS_BARS[horizon],
        moves=len(later),
        coverage=coverage(quantiles),
        baseline_coverage=coverage(baseline),
        loss=float(loss.mean()),
        baseline_loss=float(baseline_loss.mean()),
        test=diebold_mariano(
            by_date(loss),
            by_date(baseline_loss),
            horizon=dates_of(HORIZONS_BARS[horizon], at=later.at, until=later.until),
        ),
    )
