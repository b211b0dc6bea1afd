"""Texts as people hold them (a str, a list, a Series) to the TEXT tensor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from megatick_client.arrow import unwrapped
from megatick_client.errors import BadRequest
from megatick_client.requests import Array
from megatick_contract import TRUNCATIONS, Rejection
from megatick_contract.text import TEXT, TRUNCATION_PARAMETER


@dataclass(frozen=True)
class TextRows:
    """Texts ready to send.

    Attributes:
        texts: as given, R of them.
        array: object, [R, 1], UTF-8 bytes.
        frame_index: the labels of the pandas Series they came in, else None.
        single: they came as one bare str.
    """

    texts: tuple[str, ...]
    array: Array
    frame_index: Any
    single: bool


def read_texts(texts: str | Iterable[str]) -> TextRows:
    """Encode texts, and refuse what cannot travel as UTF-8.

    What a text must be beyond that (not blank, not too long) is the server's to say.

    Raises:
        BadRequest: something is no str (a missing value, bytes), or holds half of a
            surrogate pair; lists every such row.
    """
    single = isinstance(texts, str)
    values: list[object] = [texts] if isinstance(texts, str) else listed(texts)
    array = np.empty((len(values), 1), dtype=object)
    rejections = []
    for row, value in enumerate(values):
        if not isinstance(value, str):
            problem = f"expected a str, found {value!r:.40} ({type(value).__name__})"
            rejections.append(Rejection(row, TEXT.name, problem))
            continue
        try:
            array[row, 0] = value.encode()
        except UnicodeEncodeError as error:
            problem = (
                f"expected text that UTF-8 can hold, found half of a surrogate pair at "
                f"character {error.start}"
            )
            rejections.append(Rejection(row, TEXT.name, problem))
    if rejections:
        raise BadRequest.listing(rejections, rows=len(values))
    kept = tuple(str(value) for value in values)
    return TextRows(kept, array, index_of(texts), single)


def truncation_parameter(truncation: object) -> dict[str, str]:
    """Say to the server what becomes of a text that is longer than the model's window.

    Raises:
        BadRequest: no such ``Truncation``.
    """
    if not (isinstance(truncation, str) and truncation in TRUNCATIONS):
        raise BadRequest(
            f"truncation: expected one of {', '.join(TRUNCATIONS)}, found "
            f"{truncation!r:.40}"
        )
    return {TRUNCATION_PARAMETER: truncation}


def listed(texts: object) -> list[Any]:
    """Take the values of several texts, whatever they are.

    Raises:
        BadRequest: there are none to take, or it would yield its names and no texts.
    """
    bare = isinstance(texts, bytes | bytearray) or getattr(texts, "ndim", 1) == 0
    named = isinstance(texts, Mapping) or hasattr(texts, "columns")
    if isinstance(texts, Iterable) and not (bare or named):
        return list(unwrapped(texts))
    advice = "Pass its values, or one column." if named else "Decode bytes first."
    raise BadRequest(
        "texts: expected a str or a sequence of str, found "
        f"{type(texts).__name__}.  {advice}"
    )


def index_of(values: object) -> Any:
    """Labels of a pandas Series, else None; a list's ``index`` is a method."""
    index = getattr(values, "index", None)
    return None if callable(index) else index
