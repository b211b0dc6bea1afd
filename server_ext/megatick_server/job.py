"""One request's rows on their way through the engine."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import numpy.typing as npt

from megatick_contract.admission import Priority

Float32Array = npt.NDArray[np.float32]


@dataclass(eq=False)
class Job:
    """One request's rows on their way through the engine.

    Attributes:
        rows: int32, each of shape (tokens,), tokens ≥ 1.
        wanted: names of the graph's outputs.
        priority: its lane.
        finish: called once, with the outputs in the rows' order or with what went wrong.
        expires_s: the moment after which nobody waits for it, in the queue's clock.
        cancelled: whether the caller has given up.
        submitted_s: when it was added.
        waited_s: how long it had waited elsewhere by then.
        started_s: when its first row ran, NaN before.
        engine_s: how long the runs took that its rows were in.
    """

    rows: Sequence[npt.NDArray[np.int32]]
    wanted: frozenset[str]
    priority: Priority
    finish: Callable[[Job, dict[str, Float32Array] | Exception], None]
    expires_s: float = np.inf
    cancelled: Callable[[], bool] = lambda: False
    submitted_s: float = np.nan
    waited_s: float = 0.0
    started_s: float = np.nan
    engine_s: float = 0.0
    _waiting: list[int] = field(init=False)
    _waiting_tokens: int = field(init=False)
    _missing: int = field(init=False)
    _results: dict[str, Float32Array] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        """No row has run yet."""
        self._waiting = list(range(len(self.rows)))
        self._waiting_tokens = sum(map(len, self.rows))
        self._missing = len(self.rows)

    @property
    def waiting(self) -> Sequence[int]:
        """Rows that are not in a run yet."""
        return self._waiting

    @cached_property
    def longest(self) -> int:
        """Tokens of its longest row."""
        return max(map(len, self.rows))

    @property
    def queue_s(self) -> float:
        """How long it waited for its first run, or for being found to need none."""
        ran = not np.isnan(self.started_s)
        return self.waited_s + (self.started_s - self.submitted_s if ran else 0.0)

    @property
    def waiting_tokens(self) -> int:
        """Their tokens."""
        return self._waiting_tokens

    def start(self, row: int, now_s: float) -> None:
        """Take one row into a run."""
        self._leave(row)
        if np.isnan(self.started_s):
            self.started_s = now_s

    def fill(self, row: int, outputs: Mapping[str, Float32Array]) -> None:
        """Answer a waiting row with what is known already, each without a row axis."""
        self._leave(row)
        self.take([row], {name: output[None] for name, output in outputs.items()})

    def _leave(self, row: int) -> None:
        self._waiting.remove(row)
        self._waiting_tokens -= len(self.rows[row])

    @property
    def done(self) -> bool:
        """Whether no row is missing."""
        return self._missing == 0

    def take(self, rows: Collection[int], outputs: Mapping[str, Float32Array]) -> None:
        """Keep what the engine gave for some rows."""
        for name in self.wanted & outputs.keys():
            part = outputs[name]
            if name not in self._results:
                shape = (len(self.rows), *part.shape[1:])
                self._results[name] = np.empty(shape, np.float32)
            self._results[name][list(rows)] = part
        self._missing -= len(rows)

    @property
    def results(self) -> dict[str, Float32Array]:
        """Outputs of all rows, once it is ``done``."""
        return self._results
