"""What the engine answered to the latest rows, for texts that come again."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Collection, Mapping

import numpy as np
import numpy.typing as npt

Float32Array = npt.NDArray[np.float32]


class RowCache:
    """The least recently used row goes first.  Safe to share between threads.

    A row is known by its tokens, so texts that the tokenizer does not tell apart are one,
    and whatever a request holds beside its texts does not matter.

    Attributes:
        hits: rows that were known.
        misses: rows that were not, of a cache that keeps any.
    """

    def __init__(self, rows: int) -> None:
        """Start empty.

        Args:
            rows: most rows to keep; 0 keeps none.
        """
        self._most = rows
        self._rows: OrderedDict[bytes, dict[str, Float32Array]] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = self.misses = 0

    def __len__(self) -> int:
        return len(self._rows)

    def get(
        self, row: npt.NDArray[np.int32], wanted: Collection[str]
    ) -> dict[str, Float32Array] | None:
        """Look a row up; None unless all that is wanted is known.

        Args:
            row: int32, shape (tokens,).
            wanted: names of outputs.

        Returns:
            Of each output, float32, the row's own, without a row axis.
        """
        if not self._most:
            return None
        key = row.tobytes()
        with self._lock:
            found = self._rows.get(key)
            if found is None or not found.keys() >= set(wanted):
                self.misses += 1
                return None
            self.hits += 1
            self._rows.move_to_end(key)
            return found

    def put(self, row: npt.NDArray[np.int32], outputs: Mapping[str, Float32Array]) -> None:
        """Keep a copy of a row's outputs, each without a row axis."""
        if not self._most:
            return
        key = row.tobytes()
        # Theirs are views, and would keep all rows of their request.
        own = {name: output.copy() for name, output in outputs.items()}
        with self._lock:
            self._rows[key] = {**self._rows.get(key, {}), **own}
            self._rows.move_to_end(key)
            if len(self._rows) > self._most:
                self._rows.popitem(last=False)
