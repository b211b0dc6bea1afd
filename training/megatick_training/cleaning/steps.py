"""The steps from a raw text to a clean one, in their order."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from megatick_training.cleaning.boilerplate import drop_boilerplate
from megatick_training.cleaning.characters import (
    collapse_space,
    drop_invisible,
    mend_encoding,
    narrow_full_width,
)
from megatick_training.cleaning.marks import (
    Cashtags,
    bare_cashtags,
    drop_cashtags,
    drop_links,
    keep_cashtags,
)
from megatick_training.cleaning.markup import strip_markup
from megatick_training.cleaning.stop_words import drop_stop_words
from megatick_training.near_duplicates import RESEMBLANCE

_CASHTAGS: Final = MappingProxyType(
    {"keep": keep_cashtags, "bare": bare_cashtags, "drop": drop_cashtags}
)


@dataclass(frozen=True)
class CleaningOptions:
    """What is done.

    Attributes:
        column: of the texts.
        cashtags: what becomes of ``$ACME``.
        repeated_passages: drop what a source repeats from text to text.
        near_duplicates: drop texts that say what an earlier one said.
        resemblance: of near-duplicates, in (0, 1].
        stop_words: drop stop words; for a lexicon, and never for a language model.
        original: keep the text as it was, in the column ``original``.
    """

    column: str = "text"
    cashtags: Cashtags = "keep"
    repeated_passages: bool = True
    near_duplicates: bool = True
    resemblance: float = RESEMBLANCE
    stop_words: bool = False
    original: bool = False


@dataclass(frozen=True)
class Step:
    """One step.

    Attributes:
        name: what the report calls it.
        apply: the text after it.
    """

    name: str
    apply: Callable[[str], str]


def steps_of(options: CleaningOptions) -> tuple[Step, ...]:
    """The steps that look at one text alone, in the order in which they run."""
    steps = (
        Step("encoding", mend_encoding),
        Step("markup", strip_markup),
        Step("invisible characters", drop_invisible),
        Step("full-width letters and digits", narrow_full_width),
        Step("links", drop_links),
        Step("boilerplate", drop_boilerplate),
        Step("cashtags", _CASHTAGS[options.cashtags]),
        Step("space", collapse_space),
    )
    if not options.stop_words:
        return steps
    return (*steps, Step("stop words", lambda text: collapse_space(drop_stop_words(text))))
