"""Labelled texts from a table."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import Final, Self

import numpy as np

from megatick_contract import LABELS, Label
from megatick_training.errors import DataError
from megatick_training.near_duplicates import IntArray
from megatick_training.tables import find_column, texts_in
from megatick_training.texts import Texts, read_split, texts_of

_SHOWN_LABELS: Final = 8
NO_SYNONYMS: Final[Mapping[str, Label]] = MappingProxyType({})


@dataclass(frozen=True)
class LabelledTexts(Texts):
    """Texts and their classes.

    Attributes:
        classes: shape (n,), indices into ``LABELS``.
    """

    classes: IntArray

    def take(self, rows: IntArray) -> Self:
        """Pick rows, in the order given."""
        return replace(super().take(rows), classes=self.classes[rows])


def read_labelled_texts(
    path: Path,
    *,
    split: str | None = None,
    synonyms: Mapping[str, Label] = NO_SYNONYMS,
) -> LabelledTexts:
    """Read the columns text and label of a table that ``read_table`` reads.

    The columns ``published_at`` and ``symbol`` (one, or a list) are read where it has them.

    Args:
        path: the file.
        split: keep only rows whose column ``split`` says this.
        synonyms: what other labels mean, as ``{"bullish": "positive"}``.

    Raises:
        DataError: a column is missing, a row cannot be read, a text is empty, a label is
            unknown, a time has no zone, or nothing is left.
    """
    rows = read_split(path, split)
    text = find_column(rows, ("text",), required_in=path)
    label = find_column(rows, ("label",), required_in=path)
    meaning: dict[str, Label] = {**{each: each for each in LABELS}, **synonyms}
    labels = texts_in(rows[label], path)
    unknown = labels[~labels.isin(meaning)]
    if len(unknown):
        others = sorted(set(unknown))
        shown = ", ".join(f"{each!r:.40}" for each in others[:_SHOWN_LABELS])
        more = f" and {len(others) - _SHOWN_LABELS:,} more"
        raise DataError(
            path,
            f"has labels [{shown}]{more * (len(others) > _SHOWN_LABELS)} (first in line "
            f"{unknown.index[0]}), expected {list(LABELS)}: say what others mean, as "
            '{"bullish": "positive"}',
        )
    empty = texts_in(rows[text], path).str.strip() == ""
    if empty.any():
        raise DataError(
            path, f"line {empty.idxmax()}: the text is empty: fill it, or drop the row"
        )
    texts = texts_of(rows, path)
    return LabelledTexts(
        texts.texts,
        np.array([LABELS.index(meaning[each]) for each in labels], np.intp),
        published_at=texts.published_at,
        symbols=texts.symbols,
    )


def read_synonyms(written: str) -> dict[str, Label]:
    """Read what labels mean from JSON, or from a file that holds it.

    Args:
        written: an object of label to negative, neutral or positive; or the path of one.

    Raises:
        DataError: neither, or a label is to mean something else.

    >>> read_synonyms('{"bullish": "positive"}')
    {'bullish': 'positive'}
    """
    inline = written.lstrip().startswith("{")
    source = Path("labels" if inline else written)
    try:
        read = json.loads(written if inline else source.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(source, f"expected JSON of what labels mean: {error}") from error
    if not (isinstance(read, dict) and all(each in LABELS for each in read.values())):
        raise DataError(
            source, f"expected an object of label to one of {list(LABELS)}, found {read!r}"
        )
    return read
