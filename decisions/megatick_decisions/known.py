"""What is known as of a moment: closes, news and what is held, and nothing later."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from types import MappingProxyType
from typing import Final

import pandas as pd

from megatick_decisions.errors import TooFewCloses
from megatick_decisions.holdings import Holdings, read_holdings
from megatick_server.validation import MIN_CLOSES
from megatick_training.headlines import Headlines

HELD_BY_DEFAULT: Final = 1000.0
"""Of each symbol, all in one currency, where no holdings are given."""


@dataclass(frozen=True, eq=False)
class Known:
    """What is known as of a moment.

    Attributes:
        as_of: in UTC.
        closes: as ``read_closes`` gives them, none after the moment; each symbol has two.
        without_closes: symbols of the file that do not have two by then: the server
            forecasts from no fewer.
        headlines: published before the moment, about a symbol that has them.
        unpriced: how many texts about each other symbol are left out.
        values: float64, what is held, by symbol, money.
        currency: of all of it; empty where no file names one.
        assumed: whether that is ``HELD_BY_DEFAULT`` of each symbol, as nothing was said.
    """

    as_of: pd.Timestamp
    closes: pd.DataFrame
    without_closes: tuple[str, ...]
    headlines: Headlines
    unpriced: Mapping[str, int]
    values: pd.Series
    currency: str
    assumed: bool

    def with_scores(self, scores: Mapping[str, float]) -> Known:
        """Take scores of texts; a headline that has none even so is left out."""
        return replace(self, headlines=self.headlines.scored(scores))


def know(
    closes: pd.DataFrame,
    headlines: Headlines,
    *,
    holdings: Path | None = None,
    traded: pd.DataFrame | None = None,
    currencies: Mapping[str, str] = MappingProxyType({}),
    as_of: datetime | None = None,
) -> Known:
    """Leave out what came later.

    Args:
        closes: as ``read_closes`` gives them.
        headlines: of any time, scored or not.
        holdings: a file that ``read_holdings`` reads; None holds ``HELD_BY_DEFAULT`` of
            each symbol.
        traded: closes as they were traded, in the shape of ``closes``, where those are
            adjusted: a quantity is worth what it traded at, which before a later split or
            dividend the adjusted close is not.  None where ``closes`` are as traded.
        currencies: of the prices of each symbol, as far as they are known.
        as_of: in UTC, with or without a zone that says so; None is right after the last
            close and the last text.

    Raises:
        TooFewCloses: no symbol has two closes by then.
        DataError: as ``read_holdings``.
    """
    symbols, closes = closes.columns, closes.dropna(how="all")
    if closes.empty:
        raise TooFewCloses("closes", f"at least {MIN_CLOSES} of a symbol", "none")
    about_them = headlines.about(closes.columns)
    moment = _latest(closes, about_them) if as_of is None else _utc(as_of)
    seen = closes[closes.index <= moment].dropna(axis=1, thresh=MIN_CLOSES)
    seen = seen.dropna(how="all")
    if seen.empty:
        raise TooFewCloses(
            "closes",
            f"{MIN_CLOSES} of a symbol by {moment.isoformat()}",
            f"the first at {closes.index[0].isoformat()}",
            "Give a later --as-of.",
        )
    paid = seen if traded is None else traded.loc[traded.index <= moment, seen.columns]
    held = (
        _each_alike(seen.columns, currencies)
        if holdings is None
        else read_holdings(holdings, paid.ffill().iloc[-1], currencies=currencies)
    )
    told = headlines.before(moment)
    about = told.rows["symbol"]
    return Known(
        as_of=moment,
        closes=seen,
        without_closes=tuple(symbols.difference(seen.columns, sort=False)),
        headlines=told.about(seen.columns),
        unpriced=dict(sorted(Counter(about[~about.isin(seen.columns)]).items())),
        values=held.values,
        currency=held.currency,
        assumed=holdings is None,
    )


def _each_alike(symbols: pd.Index[str], currencies: Mapping[str, str]) -> Holdings:
    """The same value of each symbol, in the currency of their prices if it is one."""
    named = {currencies.get(symbol, "") for symbol in symbols}
    return Holdings(
        pd.Series(HELD_BY_DEFAULT, symbols, name="value"),
        currency=named.pop() if len(named) == 1 else "",
    )


def _latest(closes: pd.DataFrame, headlines: Headlines) -> pd.Timestamp:
    """The last close, or a second after the last text, which was then published."""
    moments = [closes.index[-1]]
    if len(headlines):
        last = headlines.rows["published_at"].iloc[-1]
        moments.append(last.floor("s") + pd.Timedelta(seconds=1))
    latest: pd.Timestamp = max(moments)
    return latest


def _utc(moment: datetime) -> pd.Timestamp:
    stamp = pd.Timestamp(moment)
    return stamp.tz_localize("UTC") if stamp.tz is None else stamp.tz_convert("UTC")
