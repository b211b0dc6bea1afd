"""Which bars are read: of what symbols, and closed when, where they have a date alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any
from zoneinfo import ZoneInfo

import typer

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Clock:
    """When a bar with a date alone has its close.

    Attributes:
        time: after midnight.
        zone: whose midnight.
    """

    time: timedelta
    zone: ZoneInfo


def close_time_option(panel: str | None = None) -> Any:
    """Define the option ``--close-time``, in a panel of the help."""
    return typer.Option(
        metavar="'HH:MM [ZONE]'",
        help="When a bar with a date alone has its close: news after it is not known to "
        "it.  In UTC, or in a zone, which keeps its summer time, as in '16:00 "
        "America/New_York'.  00:00 keeps all of that day's news out.",
        rich_help_panel=panel,
    )


CloseTime = Annotated[str, close_time_option()]


def clock(given: str) -> Clock:
    """Read the option, as in ``21:00`` or ``16:00 America/New_York``."""
    time, _, zone = given.strip().partition(" ")
    try:
        told = datetime.strptime(time, "%H:%M")
        return Clock(
            timedelta(hours=told.hour, minutes=told.minute),
            ZoneInfo(zone.strip() or "UTC"),
        )
    except (ValueError, KeyError, OSError) as error:  # no such zone is a KeyError
        raise typer.BadParameter(
            f"expected HH:MM, found {given!r}: give a time in UTC, or with a zone of the "
            "IANA database, as in '16:00 America/New_York'",
            param_hint="--close-time",
        ) from error


def named(symbols: str | None) -> list[str]:
    """Read the option ``--symbols``, as in ``A,B``, each once: none named means all."""
    if symbols is None:
        return []
    return list(dict.fromkeys(name.strip() for name in symbols.split(",")))


def closed_at(closes: pd.DataFrame, closing: Clock) -> pd.DataFrame:
    """Move bars that have only dates to the time of their close, in UTC.

    Where clocks go back over the close it is the first of the two; where they go forward
    over it, the moment when they do.
    """
    import numpy as np
    import pandas as pd

    from megatick_training.times import are_dates

    index = pd.DatetimeIndex(closes.index)
    if not are_dates(index):
        return closes
    local = (index.tz_localize(None) + closing.time).tz_localize(
        closing.zone, ambiguous=np.ones(len(index), np.bool_), nonexistent="shift_forward"
    )
    return closes.set_axis(local.tz_convert("UTC"))
