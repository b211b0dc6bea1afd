"""What was known at a moment: a join that cannot see later news."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from megatick_training.errors import LookAheadError
from megatick_training.times import utc_times


def join_as_of(
    moments: pd.DataFrame,
    known: pd.DataFrame,
    *,
    at: str = "as_of",
    known_at: str = "published_at",
    by: Sequence[str] = (),
    within: pd.Timedelta | None = None,
) -> pd.DataFrame:
    """Give each moment the latest row that was known strictly before it.

    Strictly: what is published in the very second of a decision was not read in it.

    Args:
        moments: rows with the column ``at``, of times with a zone.
        known: rows with the column ``known_at``, of times with a zone.
        at: when a decision is made.
        known_at: when a row became known.
        by: columns that both have and that must be equal, as ``symbol``.
        within: how old a known row may be; at any age by default.

    Returns:
        ``moments`` in its own order and with its own index, times as UTC, with the columns
        of ``known`` added; absent where nothing was known.

    Raises:
        TimeError: a time is absent or has no zone.
        LookAheadError: as ``refuse_later`` of the result.
    """
    left = moments.assign(**{at: utc_times(moments[at], what=at)})
    right = known.assign(**{known_at: utc_times(known[known_at], what=known_at)})
    place = "_place"
    left[place] = range(len(left))
    joined = pd.merge_asof(
        left.sort_values(at, kind="stable"),
        right.sort_values(known_at, kind="stable"),
        left_on=at,
        right_on=known_at,
        by=list(by) or None,
        tolerance=within,
        allow_exact_matches=False,
    )
    joined = joined.sort_values(place).drop(columns=place).set_index(moments.index)
    refuse_later(joined, at=at, known_at=known_at)
    return joined


def refuse_later(
    joined: pd.DataFrame, *, at: str = "as_of", known_at: str = "published_at"
) -> None:
    """Hold features to their time: none was known at the moment of use or after it.

    Args:
        joined: rows with both columns; a row that knows nothing has no ``known_at``.
        at: when a decision is made.
        known_at: when the row's features became known.

    Raises:
        TimeError: a time has no zone.
        LookAheadError: a row's features were not known before its moment.
    """
    given = joined[joined[known_at].notna()]
    moments = utc_times(given[at], what=at)
    known = utc_times(given[known_at], what=known_at)
    late = known >= moments
    if late.any():
        first = int(late.argmax())
        raise LookAheadError(
            row=given.index[first], known_at=known[first], moment=moments[first]
        )
