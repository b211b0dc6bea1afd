"""Daily closes over the network, by libraries that know who publishes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, get_args
from urllib.parse import urlsplit

import pandas as pd
import requests

from megatick_training.errors import PriceSourceFailed
from megatick_training.times import utc_times

PriceSource = Literal["finance-datareader", "pandas-datareader"]
PRICE_SOURCES: Final[tuple[PriceSource, ...]] = get_args(PriceSource)

_HOSTS: Final[dict[PriceSource, str]] = {
    "finance-datareader": "Yahoo, Naver or KRX",
    "pandas-datareader": "fred.stlouisfed.org",
}


def fetch_prices(
    symbols: Sequence[str], *, source: PriceSource, start: str, end: str
) -> pd.DataFrame:
    """Fetch the closes of each symbol.

    Args:
        symbols: as the source names them: AAPL, 005930 or 7203.T for finance-datareader;
            a daily series of FRED, such as SP500 or DEXUSEU, for pandas-datareader, whose
            version 0.11 has no single stocks.
        source: the library that fetches.
        start: first date, inclusive, as 2010-01-04.
        end: last date, inclusive.

    Returns:
        Closes as ``read_closes`` gives them, adjusted where the source adjusts them, at
        each date's midnight in UTC.

    Raises:
        PriceSourceFailed: the network is missing, or the source has no such prices.
        TimeError: the source has times of a day, without a zone.
    """
    closes = {symbol: _fetch(symbol, source, start, end) for symbol in symbols}
    return pd.DataFrame(closes).sort_index().rename_axis("time")


def _fetch(symbol: str, source: PriceSource, start: str, end: str) -> pd.Series:
    host = _HOSTS[source]
    try:
        table = _read(symbol, source, start, end)
    except requests.RequestException as error:
        if error.request is not None and error.request.url:
            host = str(urlsplit(error.request.url).hostname)
        problem = f"{type(error).__name__}, it cannot be reached or it refused"
        raise PriceSourceFailed(
            source, symbol=symbol, host=host, problem=problem
        ) from error
    except (OSError, ValueError, KeyError, NotImplementedError) as error:
        problem = (str(error) or type(error).__name__).splitlines()[0]
        raise PriceSourceFailed(
            source, symbol=symbol, host=host, problem=problem
        ) from error
    column = next((name for name in ("Adj Close", "Close", symbol) if name in table), None)
    if column is None or table[column].dropna().empty:
        raise PriceSourceFailed(source, symbol=symbol, host=host, problem="it has none")
    closes = table[column].astype("float64")
    dates = utc_times(table.index, what=f"dates of {symbol} from {host}", dates=True)
    return closes.where(closes > 0).set_axis(dates)


def _read(symbol: str, source: PriceSource, start: str, end: str) -> pd.DataFrame:
    """A table with one row a date; its close is in "Adj Close", "Close" or ``symbol``."""
    table: pd.DataFrame
    if source == "finance-datareader":
        import FinanceDataReader

        table = FinanceDataReader.DataReader(symbol, start, end)
    else:
        from pandas_datareader.data import DataReader

        table = DataReader(symbol, "fred", start, end)
    return table
