"""What came of asking one feed, or of one company's filings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field

from megatick_training.collecting.articles import Article


@dataclass(frozen=True)
class Outcome:
    """What came of asking one source.

    Attributes:
        asked: the feed's address, or the company.
        articles: that it holds.
        dropped: entries that are no articles, counted by the reason.
        held: filings that were not asked for, as the collection has them.
        unchanged: the feed says that it is what it was at the last time.
        problem: why there is nothing of it, or not all; empty where all went well.
        validators: to be sent at the next time, so that only news is answered.
    """

    asked: str
    articles: tuple[Article, ...] = ()
    dropped: Mapping[str, int] = field(default_factory=Counter)
    held: int = 0
    unchanged: bool = False
    problem: str = ""
    validators: Mapping[str, str] = field(default_factory=dict)
