"""A frozen sequence of results, in the order of the rows that were sent."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, Self, TypeVar, overload

from megatick_contract import Rejection

if TYPE_CHECKING:
    import pandas as pd

T = TypeVar("T")


@dataclass(frozen=True, eq=False, repr=False)
class Rows(Sequence[T], Generic[T]):
    """Results, one a row; a slice of them is of the same class.

    Attributes:
        rows: the results.
        frame_index: labels of the pandas Series that the call was given; ``to_frame()``
            keeps them, so that its rows align with the caller's.  None otherwise.
    """

    rows: tuple[T, ...]
    frame_index: Any = None

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, key: int) -> T: ...
    @overload
    def __getitem__(self, key: slice) -> Self: ...
    def __getitem__(self, key: int | slice) -> T | Self:
        if isinstance(key, slice):
            labels = None if self.frame_index is None else self.frame_index[key]
            return type(self)(self.rows[key], labels)
        return self.rows[key]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {len(self)} rows>"


class _Framed(Protocol):
    def to_frame(self) -> pd.DataFrame: ...


class Partial(Rows[T | Rejection], Generic[T]):
    """Of several rows, in their order: the result, or why the row was refused."""

    @property
    def rejections(self) -> tuple[Rejection, ...]:
        """Those of the rows that were refused."""
        return tuple(row for row in self.rows if isinstance(row, Rejection))

    def _good(self) -> tuple[list[int], tuple[T, ...]]:
        """The places of the rows that were not, and their results."""
        numbered = [
            (place, row)
            for place, row in enumerate(self.rows)
            if not isinstance(row, Rejection)
        ]
        return [place for place, _ in numbered], tuple(row for _, row in numbered)

    def _problems(self) -> list[str | None]:
        return [row.problem if isinstance(row, Rejection) else None for row in self.rows]

    def _line_a_row(
        self, several: Callable[[tuple[T, ...], list[int]], _Framed]
    ) -> pd.DataFrame:
        """The frame of several good rows, which has a line for each, and the refused ones.

        The columns ``tokens`` and ``truncated`` become Int64 and boolean, which can miss.
        """
        places, good = self._good()
        frame = several(good, places).to_frame().reindex(range(len(self)))
        frame = frame.astype({"tokens": "Int64", "truncated": "boolean"})
        frame["problem"] = self._problems()
        return frame if self.frame_index is None else frame.set_axis(self.frame_index)

    def _lines_a_row(self, several: Callable[[tuple[T, ...]], _Framed]) -> pd.DataFrame:
        """The same of a frame of many lines a row, whose column ``row`` counts the good.

        The column ``horizon_bars`` becomes Int64, which can miss.
        """
        import pandas as pd

        places, rows = self._good()
        good = several(rows).to_frame()
        place_of = pd.Series(places, dtype="int64")
        placed = good.assign(row=good["row"].map(place_of).astype("int64"))
        problems = pd.DataFrame({"row": range(len(self)), "problem": self._problems()})
        frame = problems.merge(placed, on="row", how="left")
        return frame[[*good.columns, "problem"]].astype({"horizon_bars": "Int64"})
