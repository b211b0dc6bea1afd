"""Price histories as people hold them to the PRICES tensor.

One history is 1-D (a list, an array, a Series); several are 2-D rows (a list of lists, an
array), a mapping of symbol to history, or a DataFrame or an Arrow table with a column a
symbol.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from megatick_client.arrow import unwrapped
from megatick_client.errors import BadRequest
from megatick_client.requests import Array
from megatick_contract import WINDOW_BARS, Rejection
from megatick_contract.prices import PRICES


@dataclass(frozen=True)
class PriceHistories:
    """Price histories told apart, and not yet read.

    Attributes:
        rows: one history each, whatever it is.
        symbols: of each, None where the caller gave none.
        single: one bare history was given.
    """

    rows: Sequence[Any]
    symbols: tuple[str | None, ...]
    single: bool

    def take(self, places: Sequence[int]) -> PriceHistories:
        """Some of them, as several."""
        rows = [self.rows[place] for place in places]
        return PriceHistories(rows, tuple(self.symbols[place] for place in places), False)


@dataclass(frozen=True)
class PriceRows:
    """Price windows ready to send.

    Attributes:
        array: float32, [R, 64] closes, oldest first, NaN-padded on the left.
        last_prices: float64, [R], the last close that is not NaN; NaN when none is.
        symbols: R names, each None where the caller gave none.
        single: one bare history was given.
    """

    array: Array
    last_prices: npt.NDArray[np.float64]
    symbols: tuple[str | None, ...]
    single: bool


def read_prices(prices: object) -> PriceRows:
    """Tell histories apart, and cut them to windows.

    Args:
        prices: closes, oldest first, in one currency a row.

    Raises:
        BadRequest: as ``split_prices`` and ``cut_windows`` do.
    """
    return cut_windows(split_prices(prices))


def split_prices(prices: object) -> PriceHistories:
    """Tell one history from several.

    Raises:
        BadRequest: neither, or an index of dates that runs backwards.
    """
    prices = unwrapped(prices)
    if problem := _newest_first(prices):
        raise BadRequest(f"prices: {problem}")
    return PriceHistories(*_histories(prices))


def cut_windows(histories: PriceHistories) -> PriceRows:
    """Cut each history to its last 64 closes, and pad a shorter one with NaN.

    Raises:
        BadRequest: not numbers, more than one axis, or an index of dates that runs
            backwards; lists every such row.
    """
    symbols = histories.symbols
    windows = np.full((len(histories.rows), WINDOW_BARS), np.nan)  # float64, (R, 64)
    rejections = []
    for row, history in enumerate(histories.rows):
        if problem := _newest_first(history):
            rejections.append(Rejection(row, PRICES.name, problem))
            continue
        try:
            closes = _closes(history)
        except (TypeError, ValueError, OverflowError) as error:
            named = "" if symbols[row] is None else f" in column {symbols[row]!r}"
            problem = f"expected a row of numbers{named}, found {error}"
            rejections.append(Rejection(row, PRICES.name, problem))
            continue
        tail = closes[-WINDOW_BARS:]
        windows[row, WINDOW_BARS - len(tail) :] = tail
    if rejections:
        raise BadRequest.listing(rejections, rows=len(histories.rows))
    with np.errstate(over="ignore"):  # beyond float32 becomes inf, which is refused
        array = windows.astype(np.float32)
    return PriceRows(array, _last(windows), symbols, histories.single)


def _histories(prices: Any) -> tuple[list[Any], tuple[str | None, ...], bool]:
    """Tell one history from several; returns the rows, their symbols, and which."""
    if isinstance(prices, Mapping):
        return list(prices.values()), tuple(map(str, prices)), False
    if hasattr(prices, "columns"):  # a DataFrame: time runs down its rows
        columns = list(prices.to_numpy().T)
        return columns, tuple(map(str, prices.columns)), False
    if hasattr(prices, "to_numpy"):  # a Series
        name = getattr(prices, "name", None)
        return [prices.to_numpy()], (None if name is None else str(name),), True
    try:
        if isinstance(prices, str | bytes):
            raise TypeError
        first = list(prices[:1])
    except (TypeError, LookupError) as error:
        raise BadRequest(
            "prices: expected closes, oldest first, as one sequence, rows of them, a "
            f"mapping of symbol to closes or a DataFrame, found {type(prices).__name__}"
        ) from error
    if all(_axes(element) == 0 for element in first):
        if not first and _axes(prices) == 2:  # no rows
            return [], (), False
        return [prices], (None,), True
    return list(prices), (None,) * len(prices), False


def _newest_first(prices: Any) -> str:
    """Many vendors send the newest bar first; dates in the index give that away."""
    index = getattr(prices, "index", None)
    dated = getattr(getattr(index, "dtype", None), "kind", "") == "M"
    if dated and len(prices) > 1 and index[0] > index[-1]:  # type: ignore[index]
        return (
            f"expected closes, oldest first, found an index from {index[0]} "  # type: ignore[index]
            f"back to {index[-1]}: sort_index() turns them round"  # type: ignore[index]
        )
    return ""


def _axes(value: Any) -> int:
    try:
        return np.ndim(value)
    except ValueError:  # rows of different lengths
        return 2


def _closes(history: Any) -> npt.NDArray[np.float64]:
    history = unwrapped(history)
    if hasattr(history, "to_numpy"):
        history = history.to_numpy()
    closes = np.asarray(history)
    if closes.ndim != 1:
        raise ValueError(f"{closes.ndim} axes; send one or two axes in all")
    if closes.dtype.kind == "O":  # None becomes NaN, a missing bar
        if any(isinstance(close, str) for close in closes):
            raise TypeError("text among them; convert it first")
        try:
            return closes.astype(np.float64)
        except TypeError:
            return _without_na(closes).astype(np.float64)
    if closes.dtype.kind not in "iuf":
        raise TypeError(f"dtype {closes.dtype}; convert it first")
    return closes.astype(np.float64)


def _without_na(closes: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Turn pandas's NA, which is no number, into NaN."""
    import pandas as pd

    return np.where(pd.isna(closes), np.nan, closes)


def _last(windows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    given = ~np.isnan(windows)
    position = WINDOW_BARS - 1 - given[:, ::-1].argmax(axis=1)
    last: npt.NDArray[np.float64] = windows[np.arange(len(windows)), position]
    return last
