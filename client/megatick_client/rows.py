"""A frozen sequence of results, in the order of the rows that were sent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, Self, TypeVar, overload

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
