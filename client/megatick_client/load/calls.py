"""What is sent: the user's texts and prices, cut into requests before the clock runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from megatick_client.load.errors import InputError
from megatick_client.load.tables import (
    TEXT_COLUMN,
    files_of,
    read_table,
    stem_of,
    texts_of,
)
from megatick_client.market_views import market_view_request
from megatick_client.price_windows import read_prices
from megatick_client.requests import Request
from megatick_client.sentiment_states import read_elapsed, read_states
from megatick_client.sentiments import sentiment_request
from megatick_client.texts import read_texts
from megatick_contract import Truncation
from megatick_contract.admission import Priority

if TYPE_CHECKING:
    import pandas as pd

SYMBOL_COLUMN: Final = "symbol"
CLOSE_COLUMN: Final = "close"
_DATE_COLUMNS: Final = frozenset({"date", "time", "timestamp"})

Histories = Mapping[str, npt.NDArray[np.float64]]
"""Closes by symbol, each oldest first."""


@dataclass(frozen=True)
class Texts:
    """The user's texts.

    Attributes:
        texts: at least one.
        symbols: whom each is about; None where the files do not say.
    """

    texts: tuple[str, ...]
    symbols: tuple[str, ...] | None = None


def read_text_files(path: Path, *, column: str = TEXT_COLUMN) -> Texts:
    """Read the texts of a file, or of every file in a folder.

    Args:
        path: see ``read_table``.
        column: holds the texts; a column ``symbol`` beside it says whom they are about.

    Raises:
        InputError: no such column, or a row without a text; ``symbol`` in some of the
            files only.
    """
    texts: list[str] = []
    symbols: list[str] = []
    for file in files_of(path):
        table = read_table(file)
        texts += texts_of(table, file, column)
        if SYMBOL_COLUMN in table.columns:
            symbols += map(str, table[SYMBOL_COLUMN])
    if symbols and len(symbols) != len(texts):
        raise InputError(path, f"only some of its files have a column {SYMBOL_COLUMN!r}")
    return Texts(tuple(texts), tuple(symbols) or None)


def read_price_files(path: Path) -> dict[str, npt.NDArray[np.float64]]:
    """Read closes by symbol, from a file or every file in a folder.

    A file with a column ``close`` is one symbol's, named as the file; any other has a
    column a symbol.  Rows run from the oldest to the newest.

    Raises:
        InputError: a column that holds no numbers (dates excepted), or a symbol twice.
    """
    histories: dict[str, npt.NDArray[np.float64]] = {}
    for file in files_of(path):
        table = read_table(file)
        named = {str(name).lower(): name for name in table.columns}
        columns = (
            {stem_of(file): named[CLOSE_COLUMN]}
            if CLOSE_COLUMN in named
            else {
                str(name): name for key, name in named.items() if key not in _DATE_COLUMNS
            }
        )
        if not columns:
            raise InputError(file, "expected a column of closes, found dates alone")
        for symbol, name in columns.items():
            if symbol in histories:
                raise InputError(file, f"symbol {symbol!r} is there twice")
            histories[symbol] = _closes(table[name], file)
    return histories


def sentiment_calls(
    texts: Texts, *, rows: int = 1, truncation: Truncation = "head"
) -> tuple[Request, ...]:
    """Ask ``sentiment`` about the texts, ``rows`` of them a call, in their order."""
    request = sentiment_request(read_texts(texts.texts), truncation)
    return tuple(chunk for _, chunk in request.chunks(rows))


def market_view_calls(
    texts: Texts, prices: Histories, *, rows: int = 1, truncation: Truncation = "head"
) -> tuple[Request, ...]:
    """Ask ``market_view`` about the texts, each beside its symbol's closes.

    A text without a symbol is paired with the next history in turn.

    Raises:
        InputError: a text's symbol has no prices.
    """
    known = list(prices)
    count = len(texts.texts)
    symbols = texts.symbols or [known[row % len(known)] for row in range(count)]
    unknown = sorted(set(symbols) - set(known))
    if unknown:
        raise InputError(
            f"column {SYMBOL_COLUMN!r}",
            f"expected symbols that have prices ({', '.join(known[:5])}, …), found "
            f"{', '.join(unknown[:5])}",
        )
    request = market_view_request(
        read_texts(texts.texts),
        read_prices([prices[symbol] for symbol in symbols]),
        read_states(None, rows=count),
        read_elapsed(0.0, rows=count),
        truncation,
    )
    return tuple(chunk for _, chunk in request.chunks(rows))


def in_lane(calls: Sequence[Request], lane: Priority) -> tuple[Request, ...]:
    """Send the same calls as live ones, or as backfill that lets the live ones pass."""
    return tuple(each.in_lane(lane) for each in calls)


def renamed(calls: Sequence[Request], model: str) -> tuple[Request, ...]:
    """Send the same calls to a model of another name, with the same tensors."""
    return tuple(replace(each, model=replace(each.model, name=model)) for each in calls)


def _closes(column: pd.Series[Any], path: Path) -> npt.NDArray[np.float64]:
    import pandas as pd

    if not pd.api.types.is_numeric_dtype(column):
        raise InputError(
            path,
            f"column {column.name!r} holds no numbers.  A file has a column "
            f"{CLOSE_COLUMN!r}, or a column of closes a symbol; dates may stand in "
            f"{', '.join(sorted(_DATE_COLUMNS))}.",
        )
    return column.to_numpy(np.float64)
