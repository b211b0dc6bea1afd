"""Which words of a text its score rests on, and how much of the score they carry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from megatick_client.rows import Rows
from megatick_contract import Label

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Evidence:
    """A run of a text that moves its score.

    Attributes:
        start: its first character, in characters (code points) of the text.
        end: the character behind its last; ``text[start:end]`` is it.
        text: the run itself.
        effect: the text's score, less the score without the run, in [-2, 2]: above 0 the
            run makes the text more positive, below 0 more negative.
    """

    start: int
    end: int
    text: str
    effect: float


@dataclass(frozen=True)
class Explanation:
    """What the score of one text rests on.

    A span supports the score where its effect has the score's sign; the others speak
    against it.  The three figures of fidelity are of those that support it, and None where
    there are none, or where they are all of the text: then one of its two halves is blank.

    Attributes:
        text: the text as sent.
        label: its most probable class.
        score: P(positive) - P(negative), in [-1, 1].
        spans: the evidence, the strongest first; none overlap.
        comprehensiveness: by how much the score's size falls without the supporting spans.
            ``abs(score)`` says that they carry all of it, 0 nothing, more that without them
            the text says the opposite.
        sufficiency: by how much it falls where they are all the text there is: 0 says that
            they are enough, below 0 that the rest speaks against them.
        additivity: ``comprehensiveness`` less the sizes of the supporting spans' effects:
            near 0 each effect can be read by itself; far below 0 each needs the others to
            say anything, far above 0 each covers for the others where it alone is missing.
        refined: False where time or ``max_variants`` ended the search before all that
            moves the score was looked into, word by word.
        variants: texts that were scored for it, beside its own.
        truncated: the text was longer than the model's window, and part of it unread.

    Source:
        DeYoung et al., "ERASER: A Benchmark to Evaluate Rationalized NLP Models", ACL 2020,
        section 4, comprehensiveness and sufficiency; theirs is the probability of the
        predicted class, ours the score in its own direction, which is what spans explain.
    """

    text: str
    label: Label
    score: float
    spans: tuple[Evidence, ...]
    comprehensiveness: float | None
    sufficiency: float | None
    additivity: float | None
    refined: bool
    variants: int
    truncated: bool

    @property
    def supporting(self) -> tuple[Evidence, ...]:
        """The spans that pull the score where it is."""
        return tuple(s for s in self.spans if (s.effect > 0) == (self.score > 0))

    def to_frame(self) -> pd.DataFrame:
        """One row a span, with the columns of ``Explanations.to_frame``."""
        return Explanations((self,)).to_frame()


class Explanations(Rows[Explanation]):
    """The explanations of several texts, in their order."""

    def to_frame(self) -> pd.DataFrame:
        """One row a span, on the label of its text in the Series that was explained.

        Returns:
            Columns text, score, start, end, span, effect.
        """
        import pandas as pd

        labels = range(len(self)) if self.frame_index is None else self.frame_index
        found = [
            (label, (row.text, row.score, each.start, each.end, each.text, each.effect))
            for label, row in zip(labels, self.rows, strict=True)
            for each in row.spans
        ]
        return pd.DataFrame(
            [values for _, values in found],
            index=[label for label, _ in found],
            columns=["text", "score", "start", "end", "span", "effect"],
        )
