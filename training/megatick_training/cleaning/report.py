"""What cleaning did: how many rows each step touched, and which were dropped and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, Literal

Reason = Literal[
    "unreadable", "empty", "nothing left", "too long", "duplicate", "near-duplicate"
]

REASONS: Final[tuple[Reason, ...]] = (
    "unreadable",
    "empty",
    "nothing left",
    "too long",
    "duplicate",
    "near-duplicate",
)


@dataclass(frozen=True)
class Dropped:
    """A row that is not in the output.

    Attributes:
        source_row: its number in the whole input, from 0.
        line: in its file, from 1, at which it begins.
        reason: why.
        repeats: the number of the earlier row that says the same, of a duplicate.
        text: as it was; cut after 200 characters.
    """

    source_row: int
    line: int
    reason: Reason
    repeats: int | None
    text: str


@dataclass(frozen=True)
class StepCount:
    """How many rows a step changed."""

    step: str
    rows: int


@dataclass(frozen=True)
class DropCount:
    """How many rows were dropped for a reason."""

    reason: Reason
    rows: int


@dataclass(frozen=True)
class PassageCount:
    """How many rows lost a passage that their source repeats."""

    passage: str
    rows: int


@dataclass(frozen=True)
class CleaningReport:
    """What cleaning did.

    Attributes:
        rows: of the input.
        kept: of them, in the output.
        steps: in their order.
        dropped: by reason.
        passages: the most repeated ones.
        other_labels: duplicates whose label is not that of the row that they repeat.
    """

    rows: int
    kept: int
    steps: tuple[StepCount, ...]
    dropped: tuple[DropCount, ...]
    passages: tuple[PassageCount, ...]
    other_labels: int


class Tally:
    """A report that is being counted."""

    def __init__(self, steps: Iterable[str]) -> None:
        """Begin with no row."""
        self.steps = Counter(dict.fromkeys(steps, 0))
        self.dropped: Counter[Reason] = Counter(dict.fromkeys(REASONS, 0))
        self.passages: Counter[str] = Counter()
        self.rows = 0
        self.other_labels = 0

    def report(self, *, shown_passages: int = 20) -> CleaningReport:
        """What was counted so far."""
        return CleaningReport(
            rows=self.rows,
            kept=self.rows - self.dropped.total(),
            steps=tuple(StepCount(*each) for each in self.steps.items()),
            dropped=tuple(DropCount(*each) for each in self.dropped.items()),
            passages=tuple(
                PassageCount(*each) for each in self.passages.most_common(shown_passages)
            ),
            other_labels=self.other_labels,
        )
