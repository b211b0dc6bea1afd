"""Texts without labels, to go on pre-training with."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from megatick_training.errors import DataError
from megatick_training.near_duplicates import LEAKING_RESEMBLANCE, near_duplicate_groups
from megatick_training.reading import read_rows
from megatick_training.splits import hold_back


def read_plain_texts(path: Path) -> list[str]:
    """Read the column text of CSV, JSON lines or Parquet; empty texts are left out.

    Raises:
        DataError: the column is missing, a row cannot be read, or nothing is left.
    """
    texts = [str(row["text"] or "").strip() for _, row in read_rows(path, ["text"])]
    texts = [text for text in texts if text]
    if not texts:
        raise DataError(path, "holds no text")
    return texts


def split_plain_texts(
    texts: Sequence[str], *, held_back: float, seed: int
) -> tuple[list[str], list[str]]:
    """Hold texts back by groups of near-duplicates: two of a group never part.

    Args:
        texts: to split.
        held_back: share of the groups to hold back, in (0, 1).
        seed: of the shuffle.

    Returns:
        What to train on, and what is held back.
    """
    groups = near_duplicate_groups(texts, at_least=LEAKING_RESEMBLANCE)
    train, dev = hold_back(groups, share=held_back, seed=seed)
    return [texts[row] for row in train], [texts[row] for row in dev]
