"""What each kind of feature is worth: the forecaster's family without it, or with more.

The file that is judged is one fit; here its family is fitted anew, as it stands and with
each change, before each fifth of the dates that are judged, on everything that ended an
embargo earlier.  The intervals are calibrated on the moves that were fitted on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import HORIZONS_BARS
from megatick_server.forecast import Forecaster
from megatick_training.errors import EvaluationError
from megatick_training.evaluation.diebold_mariano import DieboldMariano, diebold_mariano
from megatick_training.forecasting.bar_features import BAR_FEATURES, bar_features
from megatick_training.forecasting.candidates import SENTIMENT, VOLATILITY, Candidate
from megatick_training.forecasting.choice import walk_fold
from megatick_training.forecasting.periods import FOLDS, LEAST_ROWS, between
from megatick_training.forecasting.sample import Sample, make_sample
from megatick_training.forecasting.windows import Windows, dates_of

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
Folds = Sequence[tuple[BoolArray, BoolArray]]

FULL: Final = "as it is"


@dataclass(frozen=True)
class _Change:
    """What a variant's family has less, and its scale more, than the full one."""

    less: tuple[str, ...] = ()
    more: tuple[str, ...] = ()

    def of(self, name: str, full: Candidate) -> Candidate:
        """The family with this change."""
        scale, location = (
            tuple(feature for feature in features if feature not in self.less)
            for features in (full.scale, full.location)
        )
        return Candidate(name, (*scale, *self.more), location, full.skewed)

    def lacks(self, columns: Sequence[str]) -> list[str]:
        """Columns that a price file with these still lacks for it."""
        needs = [need for name in self.more for need in BAR_FEATURES[name].needs]
        return [need for need in dict.fromkeys(needs) if need not in columns]


_CHANGES: Final[Mapping[str, _Change]] = {
    "without sentiment (price only)": _Change(less=SENTIMENT),
    "without volatility": _Change(less=VOLATILITY),
    "with Parkinson's range": _Change(more=("parkinson_5", "parkinson_20")),
    "with Garman and Klass's range": _Change(more=("garman_klass_5", "garman_klass_20")),
    "with volume": _Change(more=("volume_5",)),
}


@dataclass(frozen=True)
class Ablated:
    """A variant at one horizon.

    Attributes:
        horizon_bars: how far ahead.
        name: of the variant.
        features: that it leans on.
        forecasts: how many were judged.
        pinball: mean pinball loss of the log return over the contract's levels.
        test: that its loss is smaller than that of the full one; None for that itself.
    """

    horizon_bars: int
    name: str
    features: tuple[str, ...]
    forecasts: int
    pinball: float
    test: DieboldMariano | None


@dataclass(frozen=True)
class Ablations:
    """Every variant, and what could not be tried.

    Attributes:
        variants: by horizon, the full one first.
        notices: in words.
    """

    variants: tuple[Ablated, ...]
    notices: tuple[str, ...]


def ablate(
    forecaster: Forecaster,
    windows: Windows,
    judged: Windows,
    *,
    closes: pd.DataFrame,
    bars: Mapping[str, pd.DataFrame],
    embargo_bars: int,
    progress: Callable[[str], None] = lambda doing: None,
) -> Ablations:
    """Refit a forecaster's family as it is, without some features, and with others.

    Args:
        forecaster: whose family; none of its numbers is used.
        windows: all rows, those before the judged dates to fit on.
        judged: the rows to judge.
        closes: that the windows were made of.
        bars: other columns of the price file by name, as ``Prices.bars``.
        embargo_bars: bars between the last outcome that is fitted on and the first forecast
            that is judged.
        progress: is told what is being done.

    Raises:
        EvaluationError: too little history before a fold, too few dates to compare, or a
            bar whose high is below its low.
    """
    sample = make_sample(windows, half_life_s=forecaster.half_life_s)
    more = bar_features(closes, bars, sample.windows, volatility=sample.to_horizon[:, 0])
    whole = replace(sample, features={**sample.features, **more})
    known = np.ones(len(sample.windows), np.bool_)
    for each in more.values():
        known &= np.isfinite(each)
    if not known.any():
        raise EvaluationError(
            "bars with range and volume",
            "some with every column that the price file has",
            "none",
            "Leave the columns out that are empty.",
        )
    changes = {
        name: change for name, change in _CHANGES.items() if not change.lacks([*bars])
    }
    variants: list[Ablated] = []
    for horizon, bars_ahead in enumerate(HORIZONS_BARS):
        progress(f"refitting for {bars_ahead} bars")
        full = family(forecaster, horizon)
        candidates = [full, *(change.of(name, full) for name, change in changes.items())]
        folds = list(_folds(whole, judged, known, horizon, embargo_bars=embargo_bars))
        variants += _walked(whole, folds, candidates, horizon)
    notices = [*_notices(forecaster, bars, news=bool(judged.state.any()))]
    if not known.all():
        notices.append(
            f"{(~known).sum():,} rows whose bars lack range or volume are left out of "
            "every variant."
        )
    return Ablations(tuple(variants), tuple(notices))


def family(forecaster: Forecaster, horizon: int) -> Candidate:
    """The shape of a fitted forecaster at one horizon, given by its index."""

    def leant_on(coefficients: Sequence[Sequence[float]]) -> tuple[str, ...]:
        row = coefficients[horizon] if coefficients else ()
        pairs = zip(forecaster.features, row, strict=True)
        return tuple(name for name, coefficient in pairs if coefficient)

    quantiles = np.array(forecaster.quantiles[horizon])
    return Candidate(
        FULL,
        scale=leant_on(forecaster.log_scale),
        location=leant_on(forecaster.location),
        skewed=not np.allclose(quantiles, -quantiles[::-1]),
    )


def _folds(
    sample: Sample,
    judged: Windows,
    known: BoolArray,
    horizon: int,
    *,
    embargo_bars: int,
) -> Iterator[tuple[BoolArray, BoolArray]]:
    """Rows to fit on and rows to judge, of each part of the judged dates."""
    at, ended = sample.windows.at, ~np.isnan(sample.windows.returns[:, horizon])
    every = np.unique(at)
    embargo = dates_of(embargo_bars, at=at, until=sample.windows.until)
    for dates in np.array_split(np.unique(judged.at), FOLDS):
        place = int(np.searchsorted(every, dates[0]))
        border = pd.Timestamp(every[max(0, place - embargo)])
        before = known & between(sample.windows, None, border, horizon=horizon)
        if before.sum() < LEAST_ROWS:
            raise EvaluationError(
                f"moves to {HORIZONS_BARS[horizon]} bars to refit on",
                f"{LEAST_ROWS} or more that ended before {border:%Y-%m-%d}",
                str(before.sum()),
                "Give earlier prices in the same file, or a later --since.",
            )
        yield before, known & ended & (at >= dates[0]) & (at <= dates[-1])


def _walked(
    sample: Sample, folds: Folds, candidates: Sequence[Candidate], horizon: int
) -> Iterator[Ablated]:
    """Each candidate through all folds; the first is what the others are tested against."""
    inside = [rows for _, rows in folds]
    windows = sample.windows
    at, symbols, until = (
        np.concatenate([each[rows] for rows in inside])
        for each in (windows.at, windows.symbols, windows.until)
    )
    spanned = dates_of(HORIZONS_BARS[horizon], at=at, until=until)
    full: Float64Array | None = None
    for candidate in candidates:
        losses = np.concatenate(
            [walk_fold(sample, *fold, candidate, horizon).losses for fold in folds]
        )
        by_date = pd.Series(losses, index=[at, symbols]).unstack().to_numpy(np.float64)
        yield Ablated(
            horizon_bars=HORIZONS_BARS[horizon],
            name=candidate.name,
            features=tuple(dict.fromkeys((*candidate.scale, *candidate.location))),
            forecasts=len(losses),
            pinball=float(losses.mean()),
            test=None if full is None else diebold_mariano(by_date, full, horizon=spanned),
        )
        if full is None:
            full = by_date


def _notices(
    forecaster: Forecaster, bars: Mapping[str, pd.DataFrame], *, news: bool
) -> Iterator[str]:
    for name, change in _CHANGES.items():
        lacking = change.lacks([*bars])
        if lacking:
            yield (
                f"Not tried: {name}.  The price file has no column "
                f"{' and no '.join(map(repr, lacking))}; a long table may have them."
            )
        elif change.less and not set(change.less) & set(forecaster.features):
            yield f"Nothing changes {name}: the family leans on none of it."
        elif change.less == SENTIMENT and not news:
            yield f"Nothing changes {name}: there was no news to lean on (--news)."
