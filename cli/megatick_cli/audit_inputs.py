"""What callers sent, as the user kept it, found by the HMACs in an audit log."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from megatick_client import BadRequest, SentimentState
from megatick_client.load.errors import InputError
from megatick_client.load.tables import files_of, read_table
from megatick_client.price_windows import read_prices
from megatick_client.sentiment_states import read_elapsed, read_states
from megatick_contract.prices import ELAPSED_S, PRICES, SENTIMENT_STATE
from megatick_contract.text import TEXT

if TYPE_CHECKING:
    from megatick_server.audit import AuditKey

Row = npt.NDArray[Any]


class KnownInputs:
    """Rows of the inputs TEXT, PRICES, SENTIMENT_STATE and ELAPSED_S.

    That there is no news yet, and that no time has passed, need not be told.
    """

    def __init__(self, key: AuditKey) -> None:
        """Know nothing else yet; ``key`` is what the log was written with."""
        self._key = key
        self._rows: dict[str, dict[str, Row]] = {}
        self.add(SENTIMENT_STATE.name, np.zeros(4, np.float32))
        self.add(ELAPSED_S.name, np.zeros(1, np.float32))

    def add(self, tensor: str, row: Row) -> None:
        """Know one more row of an input, as it is on the wire."""
        name = self._key.of_input(tensor, row)
        self._rows.setdefault(tensor, {})[name] = row

    def find(
        self, tensor: str, inputs: Mapping[str, Sequence[str]], row: int
    ) -> Row | None:
        """Tell what a record's HMAC stands for.

        Args:
            tensor: the input.
            inputs: the record's.
            row: of the request.

        Returns:
            The row; None where it is not known, or the request had no such input.
        """
        names = inputs.get(tensor, ())
        return self._rows.get(tensor, {}).get(names[row]) if row < len(names) else None

    @classmethod
    def read(cls, path: Path, key: AuditKey, *, column: str) -> KnownInputs:
        """Read a file, or every file in a folder, each with some of the four columns.

        Columns are looked up each by itself, so that a row need not be a request.

        Args:
            path: see ``read_table``.
            key: what the log was written with.
            column: holds the texts.  ``prices`` holds lists of closes, ``sentiment_state``
                the states as the SDK gave them (four numbers, or an object of the
                attributes of ``SentimentState``), and ``elapsed_s`` seconds.

        Raises:
            InputError: none of the columns, or a value that is not what it holds.
        """
        readers: dict[str, tuple[str, Callable[[Any], Row]]] = {
            column: (TEXT.name, _text),
            **_NUMBERS,
        }
        known = cls(key)
        for file in files_of(path):
            table = read_table(file)
            found = [name for name in readers if name in table.columns]
            if not found:
                has = ", ".join(map(repr, table.columns))
                expected = ", ".join(map(repr, readers))
                raise InputError(file, f"expected a column of {expected}, found {has}")
            for name in found:
                tensor, read = readers[name]
                for row, value in enumerate(table[name].tolist()):
                    if _missing(value):
                        continue
                    try:
                        known.add(tensor, read(value))
                    except (BadRequest, TypeError) as error:
                        raise InputError(
                            file, f"row {row} (from 0) of {name!r}: {error}"
                        ) from error
        return known


def _missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _text(value: Any) -> Row:
    if not isinstance(value, str):
        raise TypeError(f"expected a text, found {value!r:.40}")
    return np.array([value.encode()], object)


def _prices(value: Any) -> Row:
    if np.ndim(value) != 1:
        raise TypeError(f"expected a list of closes, found {value!r:.40}")
    (window,) = read_prices([value]).array
    return np.asarray(window)


def _state(value: Any) -> Row:
    named = isinstance(value, Mapping)
    state = SentimentState(**value) if named else SentimentState(*value)
    (row,) = read_states(state, rows=1)
    return np.asarray(row)


def _elapsed(value: Any) -> Row:
    (row,) = read_elapsed(value, rows=1)
    return np.asarray(row)


_NUMBERS: Final[dict[str, tuple[str, Callable[[Any], Row]]]] = {
    "prices": (PRICES.name, _prices),
    "sentiment_state": (SENTIMENT_STATE.name, _state),
    "elapsed_s": (ELAPSED_S.name, _elapsed),
}
