"""Texts about symbols: scored already, or yet to be."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from megatick_training.errors import DataError
from megatick_training.tables import (
    SYMBOL_NAMES,
    find_column,
    numbers,
    read_table,
    symbols_of,
    texts_in,
    times,
)


@dataclass(frozen=True, eq=False)
class Headlines:
    """Texts, each with the symbol that it is about; one about two is there twice.

    Attributes:
        rows: in the order of publication, indexed from 0, with the columns ``symbol``,
            ``published_at`` (UTC), ``text`` (empty where the file has none) and ``score``
            (float64 in [-1, 1], NaN where it is yet to be scored).
    """

    rows: pd.DataFrame

    def __len__(self) -> int:
        return len(self.rows)

    @classmethod
    def none(cls) -> Headlines:
        """No texts at all."""
        rows = pd.DataFrame({"symbol": [], "published_at": [], "text": [], "score": []})
        rows = rows.astype({"symbol": object, "text": object, "score": "float64"})
        return cls(rows.assign(published_at=pd.to_datetime(rows["published_at"], utc=True)))

    @property
    def unscored(self) -> tuple[str, ...]:
        """The texts that have no score yet, each once."""
        return tuple(dict.fromkeys(self.rows.loc[self.rows["score"].isna(), "text"]))

    def scored(self, scores: Mapping[str, float]) -> Headlines:
        """Take scores of texts; rows that have none even so are left out."""
        found = self.rows["score"].fillna(self.rows["text"].map(scores).astype("float64"))
        rows = self.rows.assign(score=found).dropna(subset="score")
        return Headlines(rows.reset_index(drop=True))

    def about(self, symbols: Collection[str]) -> Headlines:
        """Those about one of these symbols."""
        known = self.rows[self.rows["symbol"].isin(list(symbols))]
        return Headlines(known.reset_index(drop=True))

    def before(self, moment: pd.Timestamp) -> Headlines:
        """Those that had been published before a moment."""
        known = self.rows[self.rows["published_at"] < moment]
        return Headlines(known.reset_index(drop=True))


def read_headlines(path: Path, *, scored: bool = False) -> Headlines:
    """Read texts from a table that ``read_table`` reads.

    The columns are symbol (or ticker; one, or a list), published_at (a time with its zone),
    and text or score or both.  A text about several symbols is news of each of them, one
    about none is left out.

    Args:
        path: of the file.
        scored: whether every row must have its score.

    Raises:
        DataError: not such a table, a time that is absent or has no zone, a score that is
            not in [-1, 1], a row with neither text nor score, or no symbol at all.
    """
    rows = read_table(path)
    symbol = find_column(rows, SYMBOL_NAMES, required_in=path)
    published = find_column(rows, ("published_at",), required_in=path)
    text, score = find_column(rows, ("text",)), find_column(rows, ("score",))
    if score is None and (scored or text is None):
        lacking = "column 'score'" if scored else "columns 'text' and 'score'"
        raise DataError(
            path,
            f"lacks {lacking}, it has {list(rows.columns)}; score its texts first, with "
            "`megatick batch`",
        )
    scores = pd.Series(np.nan, rows.index) if score is None else numbers(rows[score], path)
    wrong = ~(scores.abs() <= 1) if scored else scores.abs() > 1
    if wrong.any():
        raise DataError(
            path,
            f"line {wrong.idxmax()} has the score {scores[wrong].iloc[0]}, expected one in "
            "[-1, 1]",
        )
    texts = texts_in(rows[text], path).str.strip() if text else pd.Series("", rows.index)
    neither = scores.isna() & (texts == "")
    if neither.any():
        raise DataError(path, f"line {neither.idxmax()} has neither a text nor a score")
    table = pd.DataFrame(
        {
            "symbol": symbols_of(rows[symbol]),
            "published_at": times(rows[published], path),
            "text": texts.to_numpy(),
            "score": scores.to_numpy(),
        }
    )
    table = table.explode("symbol").dropna(subset="symbol")
    if table.empty:
        raise DataError(path, f"names no symbol in {symbol!r}: of whom is it news?")
    table = table.sort_values("published_at", kind="stable")
    return Headlines(table.reset_index(drop=True))
