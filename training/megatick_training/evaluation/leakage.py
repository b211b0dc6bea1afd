"""Traps that flatter a forecast, and the checks that spring them.

Each check holds what is judged to something that an honest forecast cannot break:

- ``refuse_look_ahead``: another future changes nothing that was known before it.
- ``refuse_skill_on_shuffled``: with outcomes dealt out at random, no skill is left.
- ``refuse_fitted_dates``: nothing is judged that the forecaster was fitted on.
- ``refuse_embargoed``: nor what comes so soon after that it shares its closes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_training.errors import LeakageError
from megatick_training.evaluation.metrics import direction
from megatick_training.forecasting.news import News, Story
from megatick_training.forecasting.windows import Windows

Float64Array = npt.NDArray[np.float64]
Times = npt.NDArray[np.datetime64]
MakeWindows = Callable[[pd.DataFrame, News | None], Windows]

_MOMENTS: Final = 5
_STANDARD_ERRORS: Final = 4.0
"""A chance of 1 in 16,000 of a false alarm, were the estimate normal."""


def refuse_look_ahead(
    make: MakeWindows, closes: pd.DataFrame, news: News | None, *, seed: int = 0
) -> None:
    """Change the future at some moments, and hold what was known by then to stay.

    After each moment every close is halved and every score turned over; the inputs of the
    forecasts made up to it are made again, and have to be the same.

    Args:
        make: the function that makes the inputs.
        closes: as ``read_closes`` gives them.
        news: scored texts, or None.
        seed: of the moments, which are drawn.

    Raises:
        LeakageError: an input depends on what came later; says which.
    """
    as_is = make(closes, news)
    moments = np.unique(as_is.at)
    drawn = np.random.default_rng(seed).choice(
        moments, min(_MOMENTS, len(moments)), replace=False
    )
    for moment in drawn:
        otherwise = make(_other_closes(closes, moment), _other_news(news, moment))
        for name in ("closes", "state", "elapsed_s"):
            before, after = (
                getattr(each, name)[each.at <= moment] for each in (as_is, otherwise)
            )
            changed = (before != after).any(axis=1)
            if changed.any():
                row = np.flatnonzero(as_is.at <= moment)[changed.argmax()]
                raise LeakageError(
                    f"{name} of {as_is.symbols[row]} at {as_is.at[row]}",
                    expected=f"the same whatever comes after {moment}",
                    found="another where the future was changed",
                    hint="It reads prices or news later than its own time.",
                )


def refuse_skill_on_shuffled(
    p_up_of: Callable[[Float64Array], Float64Array],
    returns: Float64Array,
    dates: Times,
    *,
    horizon: int,
    seed: int = 0,
) -> None:
    """Deal the outcomes out at random; whoever still tells up from down has seen them.

    Whole dates are dealt, so that the symbols of a date keep moving together.

    Args:
        p_up_of: all that makes P(up), shape (n,), given the outcomes it may learn from.
        returns: float64, shape (n,), outcomes.
        dates: shape (n,), when each forecast was made.
        horizon: bars that a return spans.
        seed: of the shuffle.

    Raises:
        LeakageError: the correlation of call and outcome is further than four standard
            errors above 0.
    """
    shuffled = _deal(returns, dates, np.random.default_rng(seed))
    found = direction(p_up_of(shuffled), shuffled, dates, horizon=horizon)
    if found.calls and found.mcc > _STANDARD_ERRORS * found.mcc_se:
        raise LeakageError(
            "forecasts of shuffled outcomes",
            expected="a correlation of call and outcome of 0",
            found=f"{found.mcc:.3f} with a standard error of {found.mcc_se:.3f}",
            hint="They were made knowing the outcomes.",
        )


def refuse_fitted_dates(first_judged: pd.Timestamp, fitted_until: pd.Timestamp) -> None:
    """Hold the first forecast that is judged to be made after the last date fitted on.

    Raises:
        LeakageError: it is not.
    """
    if first_judged <= fitted_until:
        raise LeakageError(
            "dates to judge",
            expected=f"all after {fitted_until:%Y-%m-%d}, the last that it was fitted on",
            found=f"the first is {first_judged:%Y-%m-%d}",
            hint="Judge later dates (--since), or say --allow-fitted-dates to be told how "
            "well it fits what it has seen.",
        )


def refuse_embargoed(
    judged: pd.DatetimeIndex, earliest: pd.Timestamp, *, embargo_bars: int
) -> None:
    """Hold the first forecast that is judged to be made after the embargo.

    Args:
        judged: when forecasts that are asked for are made, rising.
        earliest: the first close after the embargo.
        embargo_bars: its length.

    Raises:
        LeakageError: it is not.
    """
    if len(judged) and judged[0] < earliest:
        raise LeakageError(
            "bars to judge",
            expected=f"all from {earliest:%Y-%m-%d %H:%M} on, after an embargo of "
            f"{embargo_bars} bars",
            found=f"the first is of {judged[0]:%Y-%m-%d %H:%M}",
            hint="Give a later --since, or fewer --embargo-bars.",
        )


def _deal(returns: Float64Array, dates: Times, rng: np.random.Generator) -> Float64Array:
    """Give each date the outcomes of another, as far as both have as many."""
    dealt = returns.copy()
    of_size: dict[int, list[npt.NDArray[np.intp]]] = {}
    for rows in pd.Series(dates).groupby(dates).indices.values():
        of_size.setdefault(len(rows), []).append(np.asarray(rows))
    for alike in of_size.values():
        places = np.stack(alike)  # (dates, rows of each)
        dealt[places] = returns[rng.permutation(places)]
    return dealt


def _other_closes(closes: pd.DataFrame, moment: np.datetime64) -> pd.DataFrame:
    later = pd.DatetimeIndex(closes.index).tz_localize(None) > moment
    return closes.mul(np.where(later, 0.5, 1.0), axis=0)


def _other_news(news: News | None, moment: np.datetime64) -> News | None:
    if news is None:
        return None
    return News(
        {
            symbol: Story(
                at=story.at,
                scores=np.where(
                    story.at > moment, np.where(story.scores > 0, -1, 1), story.scores
                ).astype(np.float32),
            )
            for symbol, story in news.stories.items()
        }
    )
