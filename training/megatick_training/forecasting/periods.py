"""What may be fitted on, calibrated on and judged on: three times, two sets of symbols.

A row belongs to a period when its forecast is made in it and its horizon ends in it, so
that the rows on either side of a border share no return: the embargo is the horizon.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_training.errors import TooLittleHistory
from megatick_training.forecasting.windows import Windows

BoolArray = npt.NDArray[np.bool_]

FOLDS: Final = 5
LEAST_ROWS: Final = 100
"""A period with fewer says nothing of a 5 % tail."""
_FIRST_FOLD: Final = 0.4
_CALIBRATE_FROM: Final = 0.6
_JUDGE_FROM: Final = 0.8


@dataclass(frozen=True)
class Periods:
    """The borders in time, and the symbols that are held out.

    Attributes:
        start: of the first forecast, UTC.
        calibrate_from: forecasts before it are fitted, UTC.
        judge_from: forecasts before it are calibrated on, later ones judged, UTC.
        held_out: symbols that are neither fitted nor calibrated on.
    """

    start: pd.Timestamp
    calibrate_from: pd.Timestamp
    judge_from: pd.Timestamp
    held_out: frozenset[str]

    def folds(self) -> list[tuple[pd.Timestamp, pd.Timestamp]]:
        """Borders of the walk-forward folds within the time that is fitted on.

        A fold is judged by what was fitted on everything before it; the first starts
        after 40 % of the time.
        """
        shares = np.linspace(_FIRST_FOLD, 1, FOLDS + 1)
        span = self.calibrate_from - self.start
        borders = [self.start + share * span for share in shares]
        return list(pairwise(borders))

    def known(self, windows: Windows) -> BoolArray:
        """Rows of symbols that are not held out."""
        return ~self.unseen(windows)

    def unseen(self, windows: Windows) -> BoolArray:
        """Rows of symbols that are held out."""
        return np.isin(windows.symbols, sorted(self.held_out))


def make_periods(
    windows: Windows,
    *,
    train_until: pd.Timestamp | None,
    calibrate_until: pd.Timestamp | None,
    hold_out_symbols: float,
    seed: int,
) -> Periods:
    """Set the borders: by date, or at 60 % and 80 % of the bars.

    Args:
        windows: all rows.
        train_until: last day to fit on, inclusive, UTC.
        calibrate_until: last day to calibrate on, inclusive, UTC.
        hold_out_symbols: share of the symbols to hold out, in [0, 1).
        seed: of the draw of those.

    Raises:
        TooLittleHistory: there is no row.
    """
    if not len(windows):
        raise TooLittleHistory("the whole table", horizon_bars=1, rows=0)
    times = np.unique(windows.at)
    symbols = np.unique(windows.symbols)
    drawn = np.random.default_rng(seed).permutation(symbols)
    day = pd.Timedelta(days=1)

    def border(until: pd.Timestamp | None, share: float) -> pd.Timestamp:
        return (
            pd.Timestamp(times[int(share * len(times))]) if until is None else until + day
        )

    return Periods(
        start=pd.Timestamp(times[0]),
        calibrate_from=border(train_until, _CALIBRATE_FROM),
        judge_from=border(calibrate_until, _JUDGE_FROM),
        held_out=frozenset(map(str, drawn[: round(hold_out_symbols * len(symbols))])),
    )


def between(
    windows: Windows,
    start: pd.Timestamp | None,
    end: pd.Timestamp | None,
    *,
    horizon: int,
) -> BoolArray:
    """Rows whose forecast is made from ``start`` on and has its end before ``end``.

    Args:
        windows: all rows.
        start: None for the first.
        end: None for the last.
        horizon: index into the horizons.
    """
    until = windows.until[:, horizon]
    inside: BoolArray = ~np.isnat(until)
    if start is not None:
        inside &= windows.at >= np.datetime64(start)
    if end is not None:
        inside &= until < np.datetime64(end)
    return inside
