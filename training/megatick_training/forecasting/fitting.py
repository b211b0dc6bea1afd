"""From price histories to a forecaster: choose, fit, calibrate, judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import HORIZONS_BARS, LEVELS
from megatick_server.forecast import Forecaster
from megatick_training.errors import TooLittleHistory
from megatick_training.forecasting.candidates import Candidate, Fit, candidates_of, fit
from megatick_training.forecasting.choice import (
    Progress,
    Trial,
    choose,
    take,
    walk_forward,
)
from megatick_training.forecasting.conformal import conformal_quantiles, stretches
from megatick_training.forecasting.judgement import Judged, judge
from megatick_training.forecasting.periods import LEAST_ROWS, Periods, between
from megatick_training.forecasting.sample import EWMA_DECAY, Sample, make_sample
from megatick_training.forecasting.windows import Windows

Float64Array = npt.NDArray[np.float64]

HALF_LIFE_S: Final = 86_400.0
"""A convention, not a fit: news of yesterday weighs half of today's."""


@dataclass(frozen=True)
class Fitted:
    """A forecaster, and why it is this one.

    Attributes:
        forecaster: the artefact.
        periods: what it was fitted, calibrated and judged on.
        trials: by horizon, then by candidate.
        chosen: the trial that walking forward chose at each horizon.
        taken: the trial that was fitted: that one, or the one that was forced.
        forced: the candidate that was asked for, by horizon in bars; the others chose.
        judged: by set of later moves, then by horizon.
    """

    forecaster: Forecaster
    periods: Periods
    trials: Sequence[Sequence[Trial]]
    chosen: Sequence[Trial]
    taken: Sequence[Trial]
    forced: Mapping[int, Candidate]
    judged: Sequence[Judged]


def fit_forecaster(
    windows: Windows,
    periods: Periods,
    *,
    source: str,
    news: bool = False,
    forced: Mapping[int, Candidate] = MappingProxyType({}),
    progress: Progress = lambda done, total: None,
) -> Fitted:
    """Fit a forecaster.

    At each horizon the candidate is chosen by walking forward through the time that is
    fitted on; it is fitted on all of that, and its quantiles are conformal on moves that
    are later than the fit which they are measured with: the folds', and those of the time
    to calibrate on.  The random walk beside it is calibrated on the same moves.

    Args:
        windows: all rows, of every period.
        periods: the borders.
        source: where the data comes from, in words.
        news: whether the candidates that lean on sentiment compete.
        forced: by horizon in bars, a candidate to take there whatever the folds say; it
            competes all the same, and the artefact says that it was not chosen.
        progress: is told the trials done, and of how many.

    Raises:
        TooLittleHistory: a period has too few rows.
        EvaluationError: too few dates to judge on.
    """
    sample = make_sample(windows, half_life_s=HALF_LIFE_S)
    trials = walk_forward(sample, periods, candidates_of(news=news), progress=progress)
    chosen = [choose(of_horizon) for of_horizon in trials]
    taken = [
        take(of_horizon, best, forced.get(bars))
        for bars, of_horizon, best in zip(HORIZONS_BARS, trials, chosen, strict=True)
    ]
    fits, quantiles = _calibrated(sample, periods, taken)
    _, baseline = _calibrated(sample, periods, [of_horizon[0] for of_horizon in trials])
    unjudged = _forecaster(
        windows, periods, fits, quantiles, baseline, judged=[], source=source
    )
    judged = judge(unjudged, sample, periods)
    source = f"{source}: {_describe(windows, periods)}{_told(forced)}"
    return Fitted(
        forecaster=_forecaster(
            windows, periods, fits, quantiles, baseline, judged=judged, source=source
        ),
        periods=periods,
        trials=trials,
        chosen=chosen,
        taken=taken,
        forced=forced,
        judged=judged,
    )


def _calibrated(
    sample: Sample, periods: Periods, trials: Sequence[Trial]
) -> tuple[list[Fit], list[Float64Array]]:
    """Fit each horizon's candidate, and give its standardised quantiles."""
    known, fits, quantiles = periods.known(sample.windows), [], []
    for horizon, trial in enumerate(trials):
        bounds = (
            (None, periods.calibrate_from),
            (periods.calibrate_from, periods.judge_from),
        )
        past, later = (
            known & between(sample.windows, *each, horizon=horizon) for each in bounds
        )
        if later.sum() < LEAST_ROWS:
            raise TooLittleHistory(
                "the calibration",
                horizon_bars=HORIZONS_BARS[horizon],
                rows=int(later.sum()),
            )
        moves = sample.moves(horizon)
        fitted = fit(trial.candidate, sample.features_of(past), moves[past])
        noise = fitted.noise(sample.features_of(later), moves[later])
        at = np.concatenate([trial.at, sample.windows.at[later]])
        until = np.concatenate([trial.until, sample.windows.until[later]])
        conformal = conformal_quantiles(
            np.concatenate([trial.noise, noise]),
            stretches(at, until, horizon_bars=HORIZONS_BARS[horizon]),
            LEVELS,
            skewed=trial.candidate.skewed,
        )
        fits.append(fitted)
        quantiles.append(np.exp(fitted.intercept) * conformal)
    return fits, quantiles


def _forecaster(
    windows: Windows,
    periods: Periods,
    fits: Sequence[Fit],
    quantiles: Sequence[Float64Array],
    baseline: Sequence[Float64Array],
    *,
    judged: Sequence[Judged],
    source: str,
) -> Forecaster:
    used = [fitted.log_scale.keys() | fitted.location.keys() for fitted in fits]
    features = sorted(set().union(*used))
    strictest = judged[: len(fits)]
    return Forecaster(
        kind="location_scale",
        horizons_bars=HORIZONS_BARS,
        levels=LEVELS,
        bar_s=_bar_s(windows),
        half_life_s=HALF_LIFE_S,
        ewma_decay=EWMA_DECAY,
        quantiles=_rows(quantiles),
        baseline_quantiles=_rows(baseline),
        features=tuple(features),
        location=_rows([[each.location.get(f, 0.0) for f in features] for each in fits])
        if features
        else (),
        log_scale=_rows([[each.log_scale.get(f, 0.0) for f in features] for each in fits])
        if features
        else (),
        edge=tuple(each.edge for each in strictest) or (False,) * len(fits),
        edge_p_value=tuple(each.test.p_value for each in strictest) or (1.0,) * len(fits),
        fitted_on=source,
        fitted_until=_last_bar_before(windows, periods.judge_from).date(),
    )


def _last_bar_before(windows: Windows, border: pd.Timestamp) -> pd.Timestamp:
    """The last close that what ends before a border can have been fitted on."""
    return pd.Timestamp(windows.at[windows.at < border.to_datetime64()].max())


def _rows(table: Sequence[Sequence[float] | Float64Array]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(float(value) for value in row) for row in table)


def _bar_s(windows: Windows) -> float:
    """Seconds a bar lasts: the median distance of a symbol's bars."""
    gaps = np.diff(windows.at) / np.timedelta64(1, "s")
    return float(np.median(gaps[windows.symbols[1:] == windows.symbols[:-1]]))


def _describe(windows: Windows, periods: Periods) -> str:
    days = [periods.start, periods.calibrate_from, periods.judge_from, windows.at.max()]
    start, calibrate, judge_from, end = (
        f"{day:%Y-%m-%d}" for day in map(pd.Timestamp, days)
    )
    symbols = len(np.unique(windows.symbols))
    return (
        f"{symbols - len(periods.held_out)} symbols from {start}, calibrated from "
        f"{calibrate}; judged from {judge_from} to {end} on them and on "
        f"{len(periods.held_out)} more"
    )


def _told(forced: Mapping[int, Candidate]) -> str:
    """What the artefact, and so every receipt and evaluation, says of what was forced."""
    if not forced:
        return ""
    each = (f"{candidate.name!r} at {bars} bars" for bars, candidate in forced.items())
    return f"; forced and not chosen: {', '.join(each)}"
