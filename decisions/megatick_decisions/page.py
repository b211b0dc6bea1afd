"""The brief as sections of a page."""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from megatick_contract import WINDOW_BARS
from megatick_decisions.asking import Outlook
from megatick_decisions.briefing import Brief
from megatick_decisions.known import Known
from megatick_decisions.mood import Mood
from megatick_training.headlines import Headlines
from megatick_training.reports import Section

Float64Array = npt.NDArray[np.float64]

SHOWN_SYMBOLS: Final = 12
"""So many fans are drawn."""

_FAN_COLUMNS: Final = 4
_RECENT_BARS: Final = 5
_LATEST_TEXTS: Final = 60  # characters of a text that a table shows


def sections(made: Brief, known: Known) -> list[Section]:
    """The page's parts, in order.

    Args:
        made: the brief.
        known: what it was made of.
    """
    return [
        price_section(made.outlook, known.closes),
        mood_section(made.mood, known.closes, known.headlines),
    ]


def price_section(outlook: Outlook, closes: pd.DataFrame) -> Section:
    """Where prices may go, beside where a random walk would.

    Args:
        outlook: the forecasts.
        closes: that they were made from.
    """
    said = ", ".join(
        f"{bars} {'bar' if bars == 1 else 'bars'} {'yes' if edge else 'no'} (p = {p:.3f})"
        for bars, edge, p in zip(
            outlook.horizons_bars, outlook.edge, outlook.edge_p_value, strict=True
        )
    )
    low, high = _ends(outlook)
    coverage = outlook.levels[high] - outlook.levels[low]
    return Section(
        "Price prediction",
        text="Whether the forecaster beat a random walk when it was last evaluated: "
        f"{said}.  Where it says no, the random walk's interval is as good, and P(up) says "
        "nothing.\n\n"
        f"Returns in %, from the last close; intervals of {coverage:.0%}.  In the figures, "
        "the middle half and the whole of the forecast, and the random walk's ends dashed.",
        table=price_table(outlook),
        figure=_fans(outlook, closes),
    )


def price_table(outlook: Outlook) -> pd.DataFrame:
    """One row a symbol."""
    low, high = _ends(outlook)

    def interval(quantiles: Float64Array, row: int, horizon: int) -> str:
        ends = np.expm1(quantiles[row, horizon, [low, high]]) * 100
        return f"{ends[0]:+.1f} to {ends[1]:+.1f}"

    rows = []
    for row, symbol in enumerate(outlook.symbols):
        line: dict[str, object] = {
            "symbol": symbol,
            "last close": float(outlook.last_price[row]),
            "closed": f"{outlook.last_at[row]:%Y-%m-%d %H:%M}",
        }
        for horizon, bars in enumerate(outlook.horizons_bars):
            line |= {
                f"P(up), {bars}": round(float(outlook.p_up[row, horizon]), 3),
                f"return, {bars}": interval(outlook.quantiles, row, horizon),
                f"random walk, {bars}": interval(outlook.baseline_quantiles, row, horizon),
            }
        rows.append(line)
    return pd.DataFrame(rows)


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
        f"{now['symbols']:.0f} symbols and {len(headlines):,} texts.\n\n"
        "A symbol's mood is the decayed mean score of its texts, in [-1, 1], as if one "
        "neutral text were always among them; the market's is the mean over the symbols; "
        "breadth is the share of moods above 0 less that of those below.",
        table=mood_table(mood, headlines),
        figure=_mood_figure(mood, closes),
    )


def mood_table(mood: Mood, headlines: Headlines) -> pd.DataFrame:
    """One row a symbol that has a text, the best mood first."""
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
    return table.round({"mood": 3, f"{_RECENT_BARS} bars ago": 3, "its score": 3})


def shortened(text: str) -> str:
    """The beginning of a text, on one line.

    >>> shortened("a" * 70)[-3:], shortened("up  5 %")
    ('aa…', 'up 5 %')
    """
    line = " ".join(text.split())
    return line if len(line) <= _LATEST_TEXTS else f"{line[: _LATEST_TEXTS - 1]}…"


def _ends(outlook: Outlook) -> tuple[int, int]:
    """Places of the levels of the central interval that a table shows: 10 and 90 %."""
    return _place(outlook, 0.1), _place(outlook, 0.9)


def _place(outlook: Outlook, level: float) -> int:
    """Place of the level nearest to this one."""
    return int(np.abs(np.array(outlook.levels) - level).argmin())


def _fans(outlook: Outlook, closes: pd.DataFrame) -> Figure:
    shown = range(min(len(outlook.symbols), SHOWN_SYMBOLS))
    columns = min(len(shown), _FAN_COLUMNS)
    lines = -(-len(shown) // columns)
    figure = Figure(figsize=(2.6 * columns, 1.9 * lines), layout="constrained")
    axes = np.atleast_1d(figure.subplots(lines, columns)).flatten()
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    for row, axis in zip(shown, axes, strict=False):
        history = closes[outlook.symbols[row]].dropna().to_numpy()[-WINDOW_BARS:]
        _fan(axis, history, outlook, row)
    return figure


def _fan(axis: Axes, history: Float64Array, outlook: Outlook, row: int) -> None:
    axis.plot(range(1 - len(history), 1), history, color="0.3", linewidth=1)
    bars = [0, *outlook.horizons_bars]

    def ahead(quantiles: Float64Array, level: int) -> Float64Array:
        steps = np.concatenate([[0.0], quantiles[row, :, level]])
        prices: Float64Array = outlook.last_price[row] * np.exp(steps)
        return prices

    count = len(outlook.levels)
    for level in (0, _place(outlook, 0.25)):
        axis.fill_between(
            bars,
            ahead(outlook.quantiles, level),
            ahead(outlook.quantiles, count - 1 - level),
            color="tab:blue",
            alpha=0.25,
            linewidth=0,
        )
    for level in (0, count - 1):
        axis.plot(
            bars, ahead(outlook.baseline_quantiles, level), "--", color="0.5", linewidth=0.8
        )
    axis.set_title(outlook.symbols[row], fontsize=9)
    axis.tick_params(labelsize=7)


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
    returns = closes.apply(np.log).diff().mean(axis=1).fillna(0.0)
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
