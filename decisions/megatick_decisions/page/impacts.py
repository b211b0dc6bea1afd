"""The page's part on how prices moved after the news."""

from __future__ import annotations

from typing import Final

import pandas as pd

from megatick_contract import HORIZONS_BARS
from megatick_decisions.clustered import Estimate
from megatick_decisions.impact import RETURNS, EventStudy, largest
from megatick_decisions.page.words import counted, shortened, with_interval
from megatick_training.headlines import Headlines
from megatick_training.reports import Section

LARGEST: Final = 12
_TITLES: Final = dict(
    zip(
        RETURNS,
        ["on the bar", *(f"next {bars}" for bars in HORIZONS_BARS)],
        strict=True,
    )
)


def impact_sections(study: EventStudy, headlines: Headlines) -> list[Section]:
    """What followed the texts, and where it was most.

    Args:
        study: of the texts.
        headlines: the texts.
    """
    outside = int(study.texts["reaction_close"].isna().sum())
    missed = f"{counted(outside, 'text')} with no close before or none after"
    if not len(study.events):
        return [Section("News impact", text=f"Nothing to study: {missed}.")]
    missing = f"  In none: {missed}." if outside else ""
    compared = (
        "less the mean of the other symbols over the same time"
        if study.market_adjusted
        else "of the one symbol there is, not compared with any market"
    )
    return [
        Section(
            "News impact",
            text=f"{counted(len(study.events), 'event')}: bars of a symbol in which texts "
            f"about it came out.{missing}  Mean returns in %, {compared}, with 95 % "
            "intervals of a bootstrap that draws blocks of days; none where there are too "
            "few.\n\n"
            "On the bar: from the last close before the text to the first after it; part "
            "of that passed before the text, and none of it could be had by reading.  Next "
            "1, 5, 20: from there on, what a reader could still have earned, before costs. "
            " Nothing here says that a text moved a price.",
            table=impact_table(study),
        ),
        Section(
            "Largest moves with news",
            text="By the size of the move on the bar; the text is the first of the bar's.  "
            "Same sign: whether the move went the way that the texts read; a dash where "
            "they read neutral.",
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
            "same sign": [
                "–" if pd.isna(agreed) else "yes" if agreed else "no"
                for agreed in moved["agreed"]
            ],
            "it says": [
                shortened(stories[symbol][place])
                for symbol, place in zip(moved["symbol"], moved["first_text"], strict=True)
            ],
        }
    )


def _said(estimate: Estimate) -> str:
    return with_interval(estimate.value, estimate.interval, digits=2)
