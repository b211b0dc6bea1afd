"""Which candidate to take: by pinball loss, walking forward through the past."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import HORIZONS_BARS, LEVELS
from megatick_training.errors import TooLittleHistory
from megatick_training.evaluation.metrics import pinball_losses
from megatick_training.forecasting.candidates import Candidate, fit
from megatick_training.forecasting.conformal import conformal_quantiles, stretches
from megatick_training.forecasting.periods import LEAST_ROWS, Periods, between
from megatick_training.forecasting.sample import Sample

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Fold:
    """A candidate in one fold, fitted before it.

    Attributes:
        losses: shape (rows,), pinball loss of the log return, the mean over the levels.
        noise: shape (rows,), of the fold's moves, in the scales of the fit.
    """

    losses: Float64Array
    noise: Float64Array


@dataclass(frozen=True)
class Trial:
    """A candidate at one horizon, fitted anew before each fold and judged in it.

    Attributes:
        candidate: which.
        losses: shape (folds,), mean pinball loss of the log return.
        noise: shape (n,), of every fold's moves, in the scales of the fit before it.
        at: shape (n,), when those moves began.
        until: shape (n, H), when their horizons ended.
    """

    candidate: Candidate
    losses: Float64Array
    noise: Float64Array
    at: Times
    until: Times


def walk_forward(
    sample: Sample,
    periods: Periods,
    candidates: Sequence[Candidate],
    *,
    progress: Progress = lambda done, total: None,
) -> list[list[Trial]]:
    """Try each candidate at each horizon, with a window that expands from fold to fold.

    Returns:
        A list of trials a horizon, in the order of the candidates.

    Raises:
        TooLittleHistory: a fold, or what is before it, has too few rows.
    """
    total = len(HORIZONS_BARS) * len(candidates)
    trials: list[list[Trial]] = []
    for horizon in range(len(HORIZONS_BARS)):
        folds = _folds(sample, periods, horizon)
        of_horizon = []
        for candidate in candidates:
            of_horizon.append(_try(sample, folds, candidate, horizon))
            progress(len(trials) * len(candidates) + len(of_horizon), total)
        trials.append(of_horizon)
    return trials


def choose(trials: Sequence[Trial]) -> Trial:
    """Take the simplest candidate that is as good as the best, up to chance.

    That is the first, in the order given, whose losses exceed those of the best by no
    more than one standard error of their differences over the folds.

    Source:
        The one-standard-error rule: Breiman, Friedman, Olshen and Stone, "Classification
        and Regression Trees", 1984, section 3.4.3.
    """
    best = min(trials, key=lambda trial: float(trial.losses.mean()))
    for trial in trials:
        excess = trial.losses - best.losses
        if excess.mean() <= excess.std(ddof=1) / math.sqrt(len(excess)):
            return trial
    raise AssertionError("the best is as good as itself")


def take(trials: Sequence[Trial], chosen: Trial, forced: Candidate | None) -> Trial:
    """Take what was chosen; or the trial of another candidate, where one is forced."""
    if forced is None:
        return chosen
    return next(trial for trial in trials if trial.candidate == forced)


def _folds(
    sample: Sample, periods: Periods, horizon: int
) -> list[tuple[BoolArray, BoolArray]]:
    known = periods.known(sample.windows)

    def rows(start: pd.Timestamp | None, end: pd.Timestamp) -> BoolArray:
        return known & between(sample.windows, start, end, horizon=horizon)

    folds = [(rows(None, start), rows(start, end)) for start, end in periods.folds()]
    for before, inside in folds:
        least = int(min(before.sum(), inside.sum()))
        if least < LEAST_ROWS:
            raise TooLittleHistory(
                "a walk-forward fold", horizon_bars=HORIZONS_BARS[horizon], rows=least
            )
    return folds


def _try(
    sample: Sample,
    folds: Sequence[tuple[BoolArray, BoolArray]],
    candidate: Candidate,
    horizon: int,
) -> Trial:
    walked = [walk_fold(sample, *fold, candidate, horizon) for fold in folds]
    windows = sample.windows
    return Trial(
        candidate=candidate,
        losses=np.array([float(fold.losses.mean()) for fold in walked]),
        noise=np.concatenate([fold.noise for fold in walked]),
        at=np.concatenate([windows.at[inside] for _, inside in folds]),
        until=np.concatenate([windows.until[inside] for _, inside in folds]),
    )


def walk_fold(
    sample: Sample,
    before: BoolArray,
    inside: BoolArray,
    candidate: Candidate,
    horizon: int,
) -> Fold:
    """Fit a candidate on what was before a fold, and judge it in the fold.

    Args:
        sample: all rows.
        before: those to fit on.
        inside: those to judge.
        candidate: what to fit; its features are in the sample.
        horizon: index into the horizons.
    """
    moves, levels = sample.moves(horizon), np.array(LEVELS)
    past, now = sample.features_of(before), sample.features_of(inside)
    fitted = fit(candidate, past, moves[before])
    noise = conformal_quantiles(
        fitted.noise(past, moves[before]),
        stretches(
            sample.windows.at[before],
            sample.windows.until[before],
            horizon_bars=HORIZONS_BARS[horizon],
        ),
        LEVELS,
        skewed=candidate.skewed,
    )
    standard = pinball_losses(moves[inside], fitted.quantiles(now, noise), levels)
    return Fold(
        losses=standard.mean(axis=1) * sample.to_horizon[inside, horizon],
        noise=fitted.noise(now, moves[inside]),
    )
