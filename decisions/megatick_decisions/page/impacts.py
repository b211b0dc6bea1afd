"""The page's part on how prices moved after the news."""

from __future__ import annotations

from typing import Final

import pandas as pd

from megatick_contract import HORIZONS_BARS
from megatick_decisions.clustered import Estimate
from megatick_decisions.impact import RETURNS, EventStudy, largest
from megatick_decisions.page.words import shortened, with_interval
from megatick_training.headlines import Headlines
from megatick_training.reports import Section

LARGEST: Final = 12

_MIDNIGHT: Final = (
    "\n\nEvery bar closes at midnight, as dates alone are read: a text of the same day "
    "counts as later, and much of what it did is not seen.  Give --close-time."
)
_TITLES: Final = dict(
    zip(
        RETURNS,
        ["on the bar", *(f"next {bars}" for bars in HORIZONS_BARS)],
        strict=True,
    )
)


def impact_sections(
    study: EventStudy, headlines: Headlines, closes: pd.DataFrame
) -> list[Section]:
    """What followed the texts, and where it was most.

    Args:
        study: of the texts.
        headlines: the texts.
        closes: that it was made of.
    """
    if not len(study.events):
        return [Section("News impact", text="No text has a close before and after it.")]
    compared = (
        "less the mean of the other symbols over the same time"
        if study.market_adjusted
        else "of the one symbol there is, not compared with any market"
    )
    left_out = sum(study.left_out.values())
    missing = (
        f"  {left_out:,} texts about {len(study.left_out)} symbols without prices are in "
        "none."
        if left_out
        else ""
    )
    return [
        Section(
            "News impact",
            text=f"{len(study.events):,} events: bars of a symbol in which texts about it "
            f"came out.{missing}  Mean returns in %, {compared}, with 95 % intervals of a "
            "bootstrap that draws blocks of days; none where there are too few.\n\n"
            "On the bar: from the last close before the text to the first after it; part "
            "of that passed before the text, and none of it could be had by reading.  Next "
            "1, 5, 20: from there on, what a reader could still have earned, before costs. "
            " Nothing here says that a text moved a price."
            f"{_MIDNIGHT if _at_midnight(closes) else ''}",
            table=impact_table(study),
        ),
        Section(
            "Largest moves with news",
            text="By the size of the move on the bar; the text is the first of the bar's.",
            table=largest_table(study, headlines),
        ),
    ]


def impact_table(study: EventStudy) -> pd.DataFrame:
    """One row a way of reading, and one of the rank correlations."""
    rows = [
        {"texts read": group.reads, "events": group.events, "texts": group.texts}
        | {_TITLES[name]: _said(group.mean_returns[name]) for name in RETURNS}
        for group in study.groups
    ]
    correlations = study.rank_correlations
    rows.append(
        {
            "texts read": "rank correlation with the score",
            "events": sum(group.events for group in study.groups),
            "texts": sum(group.texts for group in study.groups),
        }
        | {_TITLES[name]: _said(correlations[name]) for name in RETURNS}
    )
    return pd.DataFrame(rows)


def largest_table(study: EventStudy, headlines: Headlines) -> pd.DataFrame:
    """The bars that moved most, and the first text of each."""
    moved = largest(study.events, LARGEST)
    stories = {
        str(symbol): rows["text"].tolist()
        for symbol, rows in headlines.rows.groupby("symbol", sort=True)
    }
    return pd.DataFrame(
        {
            "symbol": moved["symbol"],
            "closed": moved["reaction_close"].dt.strftime("%Y-%m-%d %H:%M"),
            "move, %": (100 * moved["reaction"]).round(2),
            "score": moved["score"].round(3),
            "texts": moved["texts"],
            "one sign": [
                "–" if pd.isna(agreed) else "yes" if agreed else "no"
                for agreed in moved["agreed"]
            ],
            "it says": [
                shortened(stories[symbol][place])
                for symbol, place in zip(moved["symbol"], moved["first_text"], strict=True)
            ],
        }
    )


def _at_midnight(closes: pd.DataFrame) -> bool:
    moments = pd.DatetimeIndex(closes.index)
    return bool((moments == moments.normalize()).all())


def _said(estimate: Estimate) -> str:
    return with_interval(estimate.value, estimate.interval, digits=2)
