"""Times with a zone, as UTC; one without a zone is nobody's guess."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import date
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_training.errors import TimeError

_ZONE: Final = r"[Tt ].*(?:[Zz]|[+-]\d\d(?::?\d\d)?)$"


def utc_times(
    values: Iterable[object], *, what: str, dates: bool = False
) -> pd.DatetimeIndex:
    """Read times as UTC.

    Args:
        values: ISO 8601 texts, or what ``datetime`` and ``pd.Timestamp`` hold; each with
            a zone of its own.
        what: they are, for the message.
        dates: take a date alone as well, as its midnight in UTC.

    Returns:
        The same in UTC, to the nanosecond.

    Raises:
        TimeError: one is absent, is no time from 1678 to 2261, or has no zone.

    >>> utc_times(["2026-03-02T09:30:00-05:00"], what="published_at")[0].isoformat()
    '2026-03-02T14:30:00+00:00'
    """
    given = pd.Series(list(values), dtype=object)
    told = given.map(lambda value: isinstance(value, (str, date)))  # a datetime is a date
    texts = given.where(told).astype("string")
    times = pd.to_datetime(texts, format="ISO8601", utc=True, errors="coerce")
    first, last = (each.tz_localize("UTC") for each in (pd.Timestamp.min, pd.Timestamp.max))
    _refuse(
        given, ~times.between(first, last), what, "a date or a time" if dates else "a time"
    )
    bare = ~texts.str.contains(_ZONE)
    if dates:
        bare &= times != times.dt.normalize()
    _refuse(given, bare, what, "a zone, as in 2026-03-02T14:30:00Z")
    return pd.DatetimeIndex(times, dtype="datetime64[ns, UTC]", name=None)


def naive(moments: pd.DatetimeIndex) -> npt.NDArray[np.datetime64]:
    """Give times in UTC as numpy holds them, datetime64[ns], which knows no zone."""
    return moments.tz_convert("UTC").tz_localize(None).to_numpy("datetime64[ns]")


def are_dates(moments: pd.DatetimeIndex) -> bool:
    """Whether they are midnights all, as dates alone are read."""
    return bool((moments == moments.normalize()).all())


def _refuse(given: pd.Series, wrong: pd.Series, what: str, expected: str) -> None:
    if wrong.any():
        place = int(wrong.to_numpy(bool).argmax())
        raise TimeError(what, place=place, expected=expected, found=given[place])
