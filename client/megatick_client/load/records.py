"""What became of every call of a replay, as columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from megatick_client.load.schedule import FloatArray

ANSWERED: Final = "answered"
WRONG: Final = "wrong answer"
NOT_SENT: Final = "not sent"
"""As many calls as the bound allows were in flight when it was due."""


@dataclass(frozen=True, eq=False)
class Records:
    """One row a call, in the order of the schedule.

    Attributes:
        due_s: float64, the intended start, in seconds from the beginning.
        sent_s: float64, the actual send; NaN where it was not sent.
        done_s: float64, when its answer or failure was there; NaN where not sent.
        outcomes: int16, index into ``names``.
        names: ``answered``, ``wrong answer``, ``not sent``, and the name of each class
            of ``ClientError`` that occurred.
    """

    due_s: FloatArray
    sent_s: FloatArray
    done_s: FloatArray
    outcomes: npt.NDArray[np.int16]
    names: tuple[str, ...]

    def __len__(self) -> int:
        """Calls that were due."""
        return len(self.due_s)

    def are(self, outcome: str) -> npt.NDArray[np.bool_]:
        """Tell which calls had this outcome; none where it never occurred."""
        if outcome not in self.names:
            return np.zeros(len(self), dtype=bool)
        mask: npt.NDArray[np.bool_] = self.outcomes == self.names.index(outcome)
        return mask

    @property
    def sent(self) -> npt.NDArray[np.bool_]:
        """Which calls left."""
        return np.isfinite(self.sent_s)

    @property
    def from_due_s(self) -> FloatArray:
        """Latency from the intended start, in seconds; NaN where not sent."""
        return self.done_s - self.due_s

    @property
    def from_send_s(self) -> FloatArray:
        """Latency from the actual send, in seconds; NaN where not sent."""
        return self.done_s - self.sent_s

    @property
    def lag_s(self) -> FloatArray:
        """How late each call was sent, in seconds; NaN where not sent."""
        return self.sent_s - self.due_s

    def good(self, slo_s: float) -> npt.NDArray[np.bool_]:
        """Tell which were answered, rightly, and within ``slo_s`` of when they were due."""
        with np.errstate(invalid="ignore"):
            in_time: npt.NDArray[np.bool_] = self.from_due_s <= slo_s
        return in_time & self.are(ANSWERED)
