"""Scores that the user brings, for the texts that will be sent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt

from megatick_client.load.errors import InputError
from megatick_client.load.tables import TEXT_COLUMN, column_of, read_table, texts_of
from megatick_client.requests import Request
from megatick_contract.text import TEXT

SCORE_COLUMN: Final = "score"


def read_expected(
    path: Path, calls: Sequence[Request]
) -> dict[int, npt.NDArray[np.float64]]:
    """Read what the texts of calls should score.

    Args:
        path: a table with the columns ``text`` and ``score``, such as the lines of
            ``megatick score --json``.
        calls: that will be sent.

    Returns:
        Scores of a call's rows, float64, by the call's index; of those calls only all of
        whose texts are in the file.

    Raises:
        InputError: no such columns, a score that is no number in [-1, 1], or not one
            call whose texts are all there.
    """
    import pandas as pd

    table = read_table(path)
    scores = pd.to_numeric(column_of(table, SCORE_COLUMN, path), errors="coerce")
    bad = np.flatnonzero(~(scores.abs() <= 1))
    if len(bad):
        found = table[SCORE_COLUMN].tolist()[bad[0]]
        raise InputError(
            path,
            f"row {bad[0]} (from 0) of {SCORE_COLUMN!r}: expected a number in [-1, 1], "
            f"found {found!r:.40}",
        )
    texts = texts_of(table, path, TEXT_COLUMN)
    known = {
        text.encode(): score for text, score in zip(texts, scores.tolist(), strict=True)
    }
    expected = {}
    for number, call in enumerate(calls):
        asked = call.inputs[TEXT][:, 0].tolist()
        if all(text in known for text in asked):
            expected[number] = np.array([known[text] for text in asked])
    if not expected:
        raise InputError(path, "expected the texts that will be sent, found none of them")
    return expected
