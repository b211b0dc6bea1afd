"""Times with a zone, as UTC; one without a zone is nobody's guess."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

import pandas as pd

from megatick_training.errors import TimeError


def utc_times(values: Iterable[object], *, what: str) -> pd.DatetimeIndex:
    """Read times as UTC.

    Args:
        values: ISO 8601 texts, or what ``datetime`` and ``pd.Timestamp`` hold; each with
            a zone of its own.
        what: they are, for the message.

    Returns:
        The same in UTC, to the nanosecond.

    Raises:
        TimeError: one is absent, is no time, or has no zone.

    >>> utc_times(["2026-03-02T09:30:00-05:00"], what="published_at")[0].isoformat()
    '2026-03-02T14:30:00+00:00'
    """
    return pd.DatetimeIndex(
        [_utc(value, what=what, place=place) for place, value in enumerate(values)],
        dtype="datetime64[ns, UTC]",
    )


def _utc(value: object, *, what: str, place: int) -> pd.Timestamp:
    if not isinstance(value, (str, datetime)) or not value:
        raise TimeError(what, place=place, expected="a time", found=value)
    try:
        time = pd.Timestamp(value)
    except ValueError as error:
        raise TimeError(what, place=place, expected="a time", found=value) from error
    if pd.isna(time):
        raise TimeError(what, place=place, expected="a time", found=value)
    if time.tzinfo is None:
        raise TimeError(
            what, place=place, expected="a zone, as in 2026-03-02T14:30:00Z", found=value
        )
    return time.tz_convert("UTC")
