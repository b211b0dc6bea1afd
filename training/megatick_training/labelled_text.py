"""Labelled texts from a table, and a split that near-duplicates cannot leak over."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit

from megatick_contract import LABELS
from megatick_contract.near_duplicates import near_duplicate_key
from megatick_training.errors import DataError

IntArray = npt.NDArray[np.intp]


@dataclass(frozen=True)
class LabelledTexts:
    """Texts and their classes.

    Attributes:
        texts: n texts.
        classes: shape (n,), indices into ``LABELS``.
    """

    texts: tuple[str, ...]
    classes: IntArray

    def __len__(self) -> int:
        return len(self.texts)

    def take(self, rows: IntArray) -> LabelledTexts:
        """Pick rows, in the order given."""
        return LabelledTexts(tuple(self.texts[row] for row in rows), self.classes[rows])

    def groups(self) -> list[str]:
        """Name the group of near-duplicates that each text belongs to."""
        return [near_duplicate_key(text) for text in self.texts]

    def split(self, *, held_back: float, seed: int) -> tuple[LabelledTexts, LabelledTexts]:
        """Split by groups of near-duplicates: two of a group never part.

        Args:
            held_back: share of the groups to hold back, in (0, 1).
            seed: of the shuffle.

        Returns:
            What to train on, and what is held back.
        """
        splitter = GroupShuffleSplit(1, test_size=held_back, random_state=seed)
        train, test = next(splitter.split(self.texts, groups=self.groups()))
        return self.take(train), self.take(test)


def read_labelled_texts(path: Path, *, split: str | None = None) -> LabelledTexts:
    """Read a CSV file (gzip or not) with the columns ``text`` and ``label``.

    Args:
        path: the file.
        split: keep only rows whose column ``split`` says this.

    Raises:
        DataError: a column is missing, a label is unknown, or nothing is left.
    """
    try:
        table = pd.read_csv(path)
    except (OSError, ValueError) as error:
        raise DataError(path, f"is not a CSV table: {error}") from error
    needed = ["text", "label", *(["split"] if split else [])]
    missing = [column for column in needed if column not in table]
    if missing:
        raise DataError(path, f"lacks column {missing[0]!r}, it has {list(table)}")
    if split:
        table = table[table["split"] == split]
    unknown = set(table["label"]) - set(LABELS)
    if unknown:
        raise DataError(path, f"has labels {sorted(unknown)}, expected {list(LABELS)}")
    if table.empty:
        raise DataError(path, "holds no row" + (f" of split {split!r}" if split else ""))
    classes = table["label"].map(LABELS.index).to_numpy(np.intp)
    return LabelledTexts(tuple(map(str, table["text"])), classes)
