"""The page's part on how the news reads."""

from __future__ import annotations

from typing import Final

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from megatick_decisions.mood import Mood
from megatick_decisions.page.words import counted, shortened
from megatick_training.headlines import Headlines
from megatick_training.reports import Section

_RECENT_BARS: Final = 5


def mood_section(mood: Mood, closes: pd.DataFrame, headlines: Headlines) -> Section:
    """How the news reads, by symbol and in all.

    Args:
        mood: at each close and, last, as of now.
        closes: of the same moments but the last.
        headlines: the texts, scored.
    """
    now = mood.market.iloc[-1]
    if np.isnan(now["mood"]):
        return Section("Market mood", text="No text had been published.")
    interval = (
        f" (95 % over symbols: {now['low']:+.2f} to {now['high']:+.2f})"
        if np.isfinite(now["low"])
        else ""
    )
    return Section(
        "Market mood",
        text=f"{now['mood']:+.2f} now{interval}, breadth {now['breadth']:+.2f}, of "
        f"{counted(int(now['symbols']), 'symbol')} and {counted(len(headlines), 'text')}; "
        "one about two symbols counts for each.\n\n"
        "A symbol's mood is the decayed mean score of its texts, in [-1, 1], as if one "
        "neutral text were always among them; the market's is the mean over the symbols; "
        "breadth is the share of moods above 0 less that of those below.",
        table=mood_table(mood, headlines),
        figure=_mood_figure(mood, closes),
    )


def mood_table(mood: Mood, headlines: Headlines, *, texts: bool = True) -> pd.DataFrame:
    """One row a symbol that has a text, the best mood first; with its last text or not."""
    now = mood.symbols.iloc[-1]
    earlier = mood.symbols.iloc[max(len(mood.symbols) - 1 - _RECENT_BARS, 0)]
    since = mood.symbols.index[max(len(mood.symbols) - 1 - _RECENT_BARS, 0)]
    rows = headlines.rows
    latest = rows.groupby("symbol").last()
    counts = rows["symbol"].value_counts()
    recent = rows.loc[rows["published_at"] >= since, "symbol"].value_counts()
    ordered = now.dropna().sort_values(ascending=False, kind="stable").index
    table = pd.DataFrame(
        {
            "symbol": ordered,
            "mood": now[ordered].to_numpy(),
            f"{_RECENT_BARS} bars ago": earlier[ordered].to_numpy(),
            "texts since": recent.reindex(ordered).fillna(0).astype(int).to_numpy(),
            "texts": counts.reindex(ordered).to_numpy(),
            "last text": [f"{latest['published_at'][s]:%Y-%m-%d %H:%M}" for s in ordered],
            "its score": latest["score"].reindex(ordered).to_numpy(),
            "it says": [shortened(latest["text"][symbol]) for symbol in ordered],
        }
    )
    table = table.round({"mood": 3, f"{_RECENT_BARS} bars ago": 3, "its score": 3})
    return table if texts else table.drop(columns="it says")


def _mood_figure(mood: Mood, closes: pd.DataFrame) -> Figure:
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axis = figure.subplots()
    market = mood.market
    axis.plot(market.index, market["mood"], color="tab:blue", linewidth=1.2, label="mood")
    axis.fill_between(
        market.index,
        market["low"],
        market["high"],
        color="tab:blue",
        alpha=0.2,
        linewidth=0,
    )
    axis.axhline(0, color="0.7", linewidth=0.8)
    axis.set_ylabel("mood")
    drawn = closes[closes.index >= market.index[0]]
    # a close that is missing between two is the one before: no return is lost
    known = drawn.ffill().where(drawn.bfill().notna())
    returns = known.apply(np.log).diff().mean(axis=1).fillna(0.0)
    beside = axis.twinx()
    beside.plot(
        returns.index,
        100 * np.exp(returns.cumsum()),
        color="0.4",
        linewidth=1,
        label="prices",
    )
    beside.set_ylabel("prices, begun at 100")
    figure.legend(loc="outside upper right", ncols=2, frameon=False, fontsize=8)
    return figure
