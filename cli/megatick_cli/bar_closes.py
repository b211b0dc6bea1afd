"""Which bars are read: of what symbols, and closed when, where they have a date alone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final
from zoneinfo import ZoneInfo

import typer

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

    from megatick_training.forecasting.news import News
    from megatick_training.forecasting.windows import Windows


MIDNIGHT: Final = "00:00"
"""That of dates where nothing else is said."""


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


def left_out(
    closes: pd.DataFrame, news: News | None, *, news_file: Path | None
) -> list[str]:
    """Say which symbols no forecast can be made of, and which texts are of none.

    And which closes move as if they were not adjusted for a split.

    Args:
        closes: as ``read_closes`` gives them.
        news: scored texts, or None.
        news_file: that they were read from.

    Raises:
        DataError: no text is about a symbol that has closes.
    """
    from megatick_contract import WINDOW_BARS
    from megatick_decisions.errors import listed
    from megatick_decisions.jumps import like_splits
    from megatick_training.errors import DataError

    told, symbols = [], [str(symbol) for symbol in closes.columns]
    short = [symbol for symbol in symbols if closes[symbol].count() <= WINDOW_BARS]
    if short:
        told.append(f"Left out, with no more than {WINDOW_BARS} closes: {listed(short)}.")
    if splits := like_splits(closes):
        told.append(splits)
    if news is None or news_file is None:
        return told
    unknown = [symbol for symbol in news.stories if symbol not in symbols]
    about = news.about(symbols)
    if not about:
        raise DataError(
            news_file,
            f"has no text about a symbol of the prices: it is about {listed(unknown)}, "
            f"they are of {listed(symbols)}; write symbols alike in both",
        )
    if unknown:
        told.append(
            f"Left out, {news.texts - about:,} of {news.texts:,} texts, about other "
            f"symbols than those of the prices: {listed(unknown)}."
        )
    return told


def unheard(windows: Windows, news: News | None) -> list[str]:
    """Say that every text is later than all forecasts, where that is so."""
    if news is None or windows.state.any():
        return []
    return [
        "No text was published before a forecast: the news change nothing.  Are their "
        "times those of the prices?"
    ]


def closed_at(closes: pd.DataFrame, closing: Clock) -> pd.DataFrame:
    """Move bars that have only dates to the time of their close, in UTC.

    Where clocks go back over the close it is the first of the two; where they go forward
    over it, the moment when they do.

    Raises:
        typer.BadParameter: a close time was given, and there are bars with times.
    """
    import numpy as np
    import pandas as pd

    from megatick_training.times import are_dates

    index = pd.DatetimeIndex(closes.index)
    if not are_dates(index):
        if closing != clock(MIDNIGHT):
            timed = index[index != index.normalize()][0]
            raise typer.BadParameter(
                f"bars have times of their own, as {timed.isoformat()}, at which they are "
                "taken to close: leave it out; or, if those are midnights somewhere, write "
                "the dates alone",
                param_hint="--close-time",
            )
        return closes
    local = (index.tz_localize(None) + closing.time).tz_localize(
        closing.zone, ambiguous=np.ones(len(index), np.bool_), nonexistent="shift_forward"
    )
    return closes.set_axis(local.tz_convert("UTC"))
