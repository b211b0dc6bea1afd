"""News impact: how prices moved after scored texts, as an event study.

An *event* is one bar of one symbol in which texts about it came out.  Several texts of one
bar share one move and are no independent evidence, so they are one event with their mean
score.  The *reaction* is the move from the last close at or before publication to the first
close after it: some of it may have passed before the text was out, and nobody who read the
text could trade at where it began.  *After h bars* begins at the reaction's close: what a
reader could still have earned.

Returns are log returns, and *abnormal*: less the mean of the other symbols' over the very
same time, each with the same weight.  None of this says that a text caused a move.

Source:
    MacKinlay, "Event studies in economics and finance", Journal of Economic Literature 35
    (1997): the market-adjusted model, with an equal-weighted market.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_contract import HORIZONS_BARS, LABELS
from megatick_decisions.clustered import (
    Days,
    Estimate,
    clustered_mean,
    clustered_rank_correlation,
)
from megatick_decisions.errors import EventStudyError
from megatick_training.forecasting.news import News, Story
from megatick_training.times import naive

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]
Times = npt.NDArray[np.datetime64]

RETURNS: Final = ("reaction", *(f"after_{bars}" for bars in HORIZONS_BARS))
"""Columns: the reaction's return, and those from its close to so many bars later."""

READS_NEUTRAL: Final = 1 / 3
"""Scores no further than this from 0 read as neutral."""

_NO_STORY: Final = Story(np.empty(0, "datetime64[ns]"), np.empty(0, np.float32))

_STEPS: Final = np.array([-1, 0, *HORIZONS_BARS])
"""Bars at whose closes returns begin or end, counted from the reaction's."""


@dataclass(frozen=True)
class Group:
    """The events whose texts read alike.

    Attributes:
        reads: of ``LABELS``: negative with a mean score below -1/3, positive with one above
            1/3, else neutral.
        events: how many.
        texts: how many in them.
        mean_returns: in %, by the names of ``RETURNS``: 100 times the mean log return.
    """

    reads: str
    events: int
    texts: int
    mean_returns: Mapping[str, Estimate]


@dataclass(frozen=True)
class EventStudy:
    """How prices moved after scored texts.

    A return is NaN where the table of prices ends before, and, where returns are abnormal,
    where no other symbol has a close at both of its ends.

    Attributes:
        texts: one row a text and symbol: symbol, text (its place in the symbol's story,
            from 0), published_at (UTC), score, reaction_close (UTC; NaT where the symbol
            has no close before the text or none after it) and ``RETURNS``.
        events: one row a symbol and bar in which texts about it came out: symbol,
            first_text (its place in the story), texts (how many, one after another in the
            story), published_at (of the first, UTC), score (their mean), reaction_close
            (UTC) and ``RETURNS``.  A text without a reaction_close is in none.
        groups: one a label, in the order of ``LABELS``.
        rank_correlations: Spearman's, of the events' scores and returns, by the names of
            ``RETURNS``.
        market_adjusted: whether returns are abnormal.  With prices of one symbol alone
            there is no market to compare with, and they are raw.
    """

    texts: pd.DataFrame
    events: pd.DataFrame
    groups: tuple[Group, ...]
    rank_correlations: Mapping[str, Estimate]
    market_adjusted: bool


def event_study(closes: pd.DataFrame, news: News, *, seed: int = 0) -> EventStudy:
    """Study how prices moved after scored texts.

    A symbol's bars are the rows in which it has a close, so exchanges with other holidays
    may stand in one table.  What is published in the very second of a close comes after it,
    as in ``states_at``.  Where a close's time is a date alone, which ``read_prices`` takes
    as its midnight, the day's texts count as later than its close, and the reaction is the
    next day's move: give the closes their times.

    Args:
        closes: float64, > 0 or NaN, indexed by the time in UTC at which each bar closed,
            rising; one column a symbol.  All of them together are the market.
        news: scored texts by symbol; those of one without a close are not read.
        seed: of the bootstrap that gives intervals (``clustered_mean``).  An event's day is
            the UTC date of its reaction_close, since it is moves that events share.

    Raises:
        EventStudyError: closes or texts are out of order, have no zone, or are no prices.
    """
    _check(closes, news)
    closes = closes.loc[:, closes.notna().any()]
    logs = np.log(closes.to_numpy(np.float64))  # (rows, symbols)
    stamps = naive(pd.DatetimeIndex(closes.index))

    texts = _texts(news, closes.columns)
    columns = closes.columns.get_indexer(pd.Index(texts["symbol"]))
    rows = _rows(texts["published_at"], columns, logs, stamps)
    reacts = np.flatnonzero(rows[:, 1] >= 0)
    _, first, event, count = np.unique(
        columns[reacts] * len(stamps) + rows[reacts, 1],
        return_index=True,
        return_inverse=True,
        return_counts=True,
    )
    first = reacts[first]
    returns = _returns(logs, columns[first], rows[first])

    of_texts = np.full((len(texts), len(RETURNS)), np.nan)
    of_texts[reacts] = returns[event]
    close = np.where(rows[:, 1] >= 0, stamps[rows[:, 1]], np.datetime64("NaT"))
    texts["reaction_close"] = pd.DatetimeIndex(close).tz_localize("UTC")
    texts[list(RETURNS)] = of_texts
    events = texts.iloc[first].rename(columns={"text": "first_text"}).reset_index(drop=True)
    events.insert(2, "texts", count)
    events["score"] = np.bincount(event, texts["score"].iloc[reacts], len(count)) / count

    days = stamps.astype("datetime64[D]")[rows[first, 1:]]  # up to which returns look
    return EventStudy(
        texts=texts,
        events=events,
        groups=_groups(events, days, seed=seed),
        rank_correlations={
            name: clustered_rank_correlation(
                events["score"].to_numpy(),
                events[name].to_numpy(),
                days[:, 0],
                days[:, at],
                seed=seed,
            )
            for at, name in enumerate(RETURNS)
        },
        market_adjusted=len(closes.columns) > 1,
    )


def largest(events: pd.DataFrame, n: int) -> pd.DataFrame:
    """Give the events with the largest reactions, up or down, the largest first.

    Args:
        events: of an ``EventStudy``.
        n: how many, >= 0; fewer where there are no more.

    Returns:
        Their rows, and agreed: whether the reaction has the sign of the score; <NA> where
        the score reads neutral.  That the signs agree does not say that the text moved
        the price.
    """
    sizes = events["reaction"].abs().dropna().sort_values(ascending=False, kind="stable")
    rows = events.loc[sizes.index[:n]].reset_index(drop=True)
    agreed = (np.sign(rows["score"]) == np.sign(rows["reaction"])).astype("boolean")
    rows["agreed"] = agreed.mask(rows["score"].abs() <= READS_NEUTRAL)
    return rows


def _check(closes: pd.DataFrame, news: News) -> None:
    index = closes.index
    if not isinstance(index, pd.DatetimeIndex) or str(index.tz) != "UTC":
        raise EventStudyError(
            "closes", "an index of times in UTC", f"{index.dtype}", "read_closes gives one."
        )
    if not (index.is_monotonic_increasing and index.is_unique):
        raise EventStudyError("closes", "times that rise", "some that do not", "Sort them.")
    if not closes.notna().any(axis=None):
        raise EventStudyError("closes", "a close at least", "none")
    wrong = (closes <= 0).any()
    if wrong.any():
        raise EventStudyError(
            f"closes of {wrong.idxmax()}",
            "prices above 0",
            f"{closes[wrong.idxmax()].min()}",
        )
    for name, story in news.stories.items():
        if (np.diff(story.at) < np.timedelta64(0)).any():
            raise EventStudyError(
                f"news of {name}", "times that rise", "some that do not", "Sort it."
            )


def _texts(news: News, symbols: pd.Index[str]) -> pd.DataFrame:
    """Give a row to each text about each of the symbols, in the order of these."""
    stories = [news.stories.get(name, _NO_STORY) for name in symbols]
    counts = [len(story.at) for story in stories]
    published_at = pd.DatetimeIndex(np.concatenate([story.at for story in stories]))
    return pd.DataFrame(
        {
            "symbol": symbols.repeat(counts),
            "text": np.concatenate([np.arange(count) for count in counts]),
            "published_at": published_at.tz_localize("UTC"),
            "score": np.concatenate([story.scores for story in stories]).astype(np.float64),
        }
    )


def _rows(
    published_at: pd.Series[pd.Timestamp],
    columns: IntArray,
    logs: Float64Array,
    stamps: Times,
) -> IntArray:
    """Find the rows of the table at which each text's returns begin or end.

    Returns:
        Shape (texts, steps), by ``_STEPS``, -1 where the table ends before; and -1 in all
        of a text that has no close before it or none after it.
    """
    at = published_at.to_numpy("datetime64[ns]")
    rows = np.full((len(at), len(_STEPS)), -1, np.intp)
    for column in np.unique(columns):
        bars = np.flatnonzero(np.isfinite(logs[:, column]))
        texts = columns == column
        # the first close after the text; one in its very second is before it
        reaction = np.searchsorted(stamps[bars], at[texts], side="right")
        place = reaction[:, None] + _STEPS
        there = (place >= 0) & (place < len(bars))
        there &= there[:, :2].all(axis=1, keepdims=True)
        rows[texts] = np.where(there, bars[place.clip(0, len(bars) - 1)], -1)
    return rows


def _returns(logs: Float64Array, columns: IntArray, rows: IntArray) -> Float64Array:
    """Take the market's moves off each event's own.

    Args:
        logs: shape (rows, symbols), NaN where a symbol has no close.
        columns: shape (events,), each event's symbol.
        rows: shape (events, steps), as ``_rows`` gives them.

    Returns:
        Shape (events, returns), by ``RETURNS``; raw where there is one symbol alone.
    """
    starts = rows[:, [0] + [1] * len(HORIZONS_BARS)]
    ends = rows[:, 1:]
    returns = np.full(ends.shape, np.nan)
    known = ends >= 0
    spans, span = np.unique(
        starts[known] * len(logs) + ends[known], return_inverse=True
    )  # each stretch of time once: many events share one
    moves = logs[spans % len(logs)] - logs[spans // len(logs)]  # (spans, symbols)
    own = moves[span, np.broadcast_to(columns[:, None], ends.shape)[known]]
    if logs.shape[1] == 1:
        returns[known] = own
        return returns
    others = np.isfinite(moves).sum(axis=1)[span] - 1
    moved = np.nansum(moves, axis=1)[span] - own
    returns[known] = own - moved / np.where(others > 0, others, np.nan)
    return returns


def _groups(events: pd.DataFrame, days: Days, *, seed: int) -> tuple[Group, ...]:
    """Sum up the events whose texts read alike; days has shape (events, returns)."""
    scores = events["score"].to_numpy()
    reads = (
        np.ones(len(scores), np.intp) + (scores > READS_NEUTRAL) - (scores < -READS_NEUTRAL)
    )
    groups = []
    for at, label in enumerate(LABELS):
        alike = reads == at
        percent = events.loc[alike, list(RETURNS)].to_numpy() * 100
        groups.append(
            Group(
                reads=label,
                events=int(alike.sum()),
                texts=int(events["texts"][alike].sum()),
                mean_returns={
                    name: clustered_mean(
                        percent[:, of], days[alike, 0], days[alike, of], seed=seed
                    )
                    for of, name in enumerate(RETURNS)
                },
            )
        )
    return tuple(groups)
