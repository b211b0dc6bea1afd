"""Which bars are read: of what symbols, and closed when, where they have a date alone."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import pandas as pd


def close_time_option(panel: str | None = None) -> Any:
    """Define the option ``--close-time``, in a panel of the help."""
    return typer.Option(
        metavar="HH:MM",
        help="When, in UTC, a bar with a date alone has its close: news after it is not "
        "known to it.  00:00 keeps all of that day's news out.",
        rich_help_panel=panel,
    )


CloseTime = Annotated[str, close_time_option()]


def clock(given: str) -> timedelta:
    """Read the option: how long after midnight, as in ``21:00``."""
    try:
        time = datetime.strptime(given, "%H:%M")
    except ValueError as error:
        raise typer.BadParameter(
            f"expected HH:MM, found {given!r}", param_hint="--close-time"
        ) from error
    return timedelta(hours=time.hour, minutes=time.minute)


def named(symbols: str | None) -> list[str]:
    """Read the option ``--symbols``, as in ``A,B``, each once: none named means all."""
    if symbols is None:
        return []
    return list(dict.fromkeys(name.strip() for name in symbols.split(",")))


def closed_at(closes: pd.DataFrame, close_time: timedelta) -> pd.DataFrame:
    """Move bars that have only dates to the time of their close."""
    import pandas as pd

    from megatick_training.times import are_dates

    index = pd.DatetimeIndex(closes.index)
    return closes.set_axis(index + close_time) if are_dates(index) else closes
