"""Fit the driftless random walk: how wide its intervals must be to cover what they say.

    python -m megatick_training.random_walk PRICES.csv --until DATE --out forecaster.json

The width is conformal.  Every past window of 64 closes gives, at each horizon h, the
standardised move |log return| / (volatility · √h), with the same volatility that the
server computes; the interval of coverage c reaches to their c-quantile, on both sides of
zero.  Moves of bars after ``--until`` are held back, and their coverage is reported.

Source:
    Split conformal prediction with the absolute standardised residual as its score:
    Lei, G'Sell, Rinaldo, Tibshirani and Wasserman, "Distribution-free predictive
    inference for regression", JASA 113 (2018), sections 2.2 and 5.2.  Overlapping windows
    are not exchangeable, so the coverage is checked on later data, not promised.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import numpy as np
import numpy.typing as npt
import pandas as pd
import typer

from megatick_contract import HORIZONS_BARS, LEVELS, WINDOW_BARS
from megatick_server.forecast import Forecaster
from megatick_server.volatility import ewma_volatility
from megatick_training.errors import DataError
from megatick_training.prices import read_closes

Float64Array = npt.NDArray[np.float64]

EWMA_DECAY: Final = 0.94
"""RiskMetrics' decay for daily returns (Technical Document, 1996, section 5.3.2.1)."""

DAY_S: Final = 86_400.0
HALF_LIFE_S: Final = DAY_S
"""A convention, not a fit: news of yesterday weighs half of today's."""


@dataclass(frozen=True)
class HeldBack:
    """How often later moves fell inside the intervals.

    Attributes:
        coverage: the interval's nominal coverage.
        covered: per horizon, the share of later moves inside, in [0, 1].
        moves: per horizon, how many there were.
    """

    coverage: float
    covered: tuple[float, ...]
    moves: tuple[int, ...]


def fit_random_walk(
    closes: pd.DataFrame, *, until: pd.Timestamp, source: str
) -> tuple[Forecaster, list[HeldBack]]:
    """Fit the interval widths on bars up to ``until``, and judge them on later ones.

    Args:
        closes: as ``read_closes`` gives them.
        until: last date whose moves are fitted, inclusive.
        source: where the closes come from, in words.

    Returns:
        The forecaster, and its coverage on moves that start after ``until``.

    Raises:
        DataError: too few bars on either side.
    """
    fitted_until = int(closes.index.searchsorted(until, side="right"))
    widths, held_back = [], []
    coverages = sorted({_coverage(level) for level in LEVELS} - {0.0})
    for horizon in HORIZONS_BARS:
        past, later = _standard_moves(closes, horizon=horizon, fitted_until=fitted_until)
        if not (len(past) and len(later)):
            raise DataError(
                Path(source),
                f"needs more than {WINDOW_BARS + horizon} bars both up to and after "
                f"{until.date()}, found {fitted_until} and {len(closes) - fitted_until}",
            )
        width = {c: _conformal_quantile(past, coverage=c) for c in coverages}
        widths.append([_signed_width(width, level) for level in LEVELS])
        held_back.append((later, width))
    judged = [
        HeldBack(
            coverage=c,
            covered=tuple(float((later <= w[c]).mean()) for later, w in held_back),
            moves=tuple(len(later) for later, _ in held_back),
        )
        for c in coverages
    ]
    forecaster = Forecaster(
        kind="location_scale",
        horizons_bars=HORIZONS_BARS,
        levels=LEVELS,
        bar_s=DAY_S,
        half_life_s=HALF_LIFE_S,
        ewma_decay=EWMA_DECAY,
        quantiles=tuple(map(tuple, widths)),
        baseline_quantiles=tuple(map(tuple, widths)),
        edge=(False,) * len(HORIZONS_BARS),  # the baseline does not beat itself
        edge_p_value=(1.0,) * len(HORIZONS_BARS),
        fitted_on=_describe(closes, until=until, source=source, judged=judged),
    )
    return forecaster, judged


def _standard_moves(
    closes: pd.DataFrame, *, horizon: int, fitted_until: int
) -> tuple[Float64Array, Float64Array]:
    """Standardised |moves| that end by ``fitted_until``, and those that start after it."""
    past, later = [], []
    for symbol in closes.columns:
        values = closes[symbol].to_numpy()
        starts = np.arange(WINDOW_BARS - 1, len(values) - horizon)  # last bar of a window
        windows = np.lib.stride_tricks.sliding_window_view(values, WINDOW_BARS)
        windows = windows[: len(starts)]
        whole = ~np.isnan(windows).any(axis=1) & ~np.isnan(values[starts + horizon])
        starts, windows = starts[whole], windows[whole]
        scale = ewma_volatility(windows, decay=EWMA_DECAY) * math.sqrt(horizon)
        moves = np.abs(np.log(values[starts + horizon] / values[starts]))
        moving = scale > 0
        standard, starts = moves[moving] / scale[moving], starts[moving]
        past.append(standard[starts + horizon < fitted_until])
        later.append(standard[starts >= fitted_until])
    return np.concatenate(past), np.concatenate(later)


def _conformal_quantile(scores: Float64Array, *, coverage: float) -> float:
    """The ⌈(n + 1)·coverage⌉-th smallest score."""
    rank = math.ceil((len(scores) + 1) * coverage)
    return float(np.sort(scores)[min(rank, len(scores)) - 1])


def _signed_width(width: dict[float, float], level: float) -> float:
    coverage = _coverage(level)
    return math.copysign(width[coverage], level - 0.5) if coverage else 0.0


def _coverage(level: float) -> float:
    """Of the interval that ends at this level: 0.9 for 0.05 and for 0.95."""
    return round(abs(2 * level - 1), 9)


def _describe(
    closes: pd.DataFrame, *, until: pd.Timestamp, source: str, judged: list[HeldBack]
) -> str:
    widest = judged[-1]
    covered = "/".join(f"{share:.1%}" for share in widest.covered)
    return (
        f"{source}: {closes.shape[1]} symbols, bars {closes.index[0].date()} to "
        f"{until.date()}; on later bars to {closes.index[-1].date()} the "
        f"{widest.coverage:.0%} intervals cover {covered}"
    )


def main(
    prices: Annotated[Path, typer.Argument(help="CSV of closes: a date column, symbols.")],
    until: Annotated[str, typer.Option(help="Last date to fit on, inclusive.")],
    out: Annotated[Path, typer.Option(help="Forecaster file to write.")],
    source: Annotated[str, typer.Option(help="Where the closes come from.")] = "",
) -> None:
    """Fit the random walk's interval widths and write the forecaster file."""
    forecaster, judged = fit_random_walk(
        read_closes(prices), until=pd.Timestamp(until), source=source or prices.name
    )
    out.write_text(forecaster.model_dump_json(indent=2) + "\n")
    for row in judged:
        covered = ", ".join(f"{share:.4f}" for share in row.covered)
        typer.echo(f"{row.coverage:.0%} intervals cover {covered} of {row.moves} moves")


if __name__ == "__main__":
    typer.run(main)
