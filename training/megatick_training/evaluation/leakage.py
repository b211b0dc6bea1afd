"""Traps that flatter a forecast, and the checks that spring them.

Each check holds what is judged to something that an honest forecast cannot break:

- ``refuse_look_ahead``: another future changes nothing that was known before it.
- ``refuse_skill_on_shuffled``: with outcomes dealt out at random, no skill is left.
- ``refuse_fitted_dates``: nothing is judged that the forecaster was fitted on.
- ``refuse_embargoed``: nor what comes so soon after that it shares its closes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_training.errors import LeakageError
from megatick_training.forecasting.news import News, Story
from megatick_training.forecasting.windows import Windows

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
Times = npt.NDArray[np.datetime64]
MakeWindows = Callable[[pd.DataFrame, News | None], Windows]

_MOMENTS: Final = 5
_DEALS: Final = 200
_STANDARD_ERRORS: Final = 4.0
"""A chance of 1 in 30,000 of a false alarm, were the correlation normal."""


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
    seed: int = 0,
) -> None:
    """Deal the outcomes out at random; whoever still tells up from down has seen them.

    Whole dates are dealt, so that the symbols of a date keep moving together.  How far
    luck takes the correlation is what it comes to when the same calls meet outcomes that
    are dealt out once more, and more.

    Args:
        p_up_of: all that makes P(up), shape (n,), given the outcomes it may learn from.
        returns: float64, shape (n,), outcomes.
        dates: shape (n,), when each forecast was made.
        seed: of the shuffles.

    Raises:
        LeakageError: the correlation of call and outcome is further than four standard
            errors above what luck gives.
    """
    rng, alike = np.random.default_rng(seed), _alike(dates)
    shuffled = _deal(returns, alike, rng)
    calls = np.sign(p_up_of(shuffled) - 0.5)
    if not calls.any():
        return
    found = _correlation(calls, shuffled)
    by_luck = [_correlation(calls, _deal(returns, alike, rng)) for _ in range(_DEALS)]
    expected, error = np.mean(by_luck), np.std(by_luck)
    if found - expected > _STANDARD_ERRORS * error > 0:
        raise LeakageError(
            "forecasts of shuffled outcomes",
            expected=f"a correlation of call and outcome near {expected:.3f}, luck's",
            found=f"{found:.3f} with a standard error of {error:.3f}",
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


def _alike(dates: Times) -> list[IntArray]:
    """Group dates by how many rows they have: each shape (dates, rows of one)."""
    of_size: dict[int, list[IntArray]] = {}
    for rows in pd.Series(dates).groupby(dates).indices.values():
        of_size.setdefault(len(rows), []).append(np.asarray(rows))
    return [np.stack(alike) for alike in of_size.values()]


def _deal(
    returns: Float64Array, alike: Sequence[IntArray], rng: np.random.Generator
) -> Float64Array:
    """Give each date the outcomes of another that has as many."""
    dealt = returns.copy()
    for places in alike:
        dealt[places] = returns[rng.permutation(places)]
    return dealt


def _correlation(calls: Float64Array, returns: Float64Array) -> float:
    """Of calls up (1) or down (-1) with what came; 0 where all are one way."""
    told = (calls != 0) & (returns != 0)
    call, came = calls[told], np.sign(returns[told])
    if not (call.size and np.ptp(call) and np.ptp(came)):
        return 0.0
    return float(np.corrcoef(call, came)[0, 1])


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
