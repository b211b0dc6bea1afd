"""The page's part on where prices may go."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from megatick_contract import WINDOW_BARS
from megatick_decisions.asking import Outlook
from megatick_decisions.holdings import largest_first
from megatick_training.reports import Section

Float64Array = npt.NDArray[np.float64]

SHOWN_SYMBOLS: Final = 12
"""So many fans are drawn."""

_FAN_COLUMNS: Final = 4


def price_section(outlook: Outlook, closes: pd.DataFrame, values: pd.Series) -> Section:
    """Where prices may go, beside where a random walk would.

    Args:
        outlook: the forecasts.
        closes: that they were made from.
        values: what is held, by symbol; it comes first, the largest before the others.
    """
    order = _order(outlook, values)
    low, high = _ends(outlook)
    coverage = outlook.levels[high] - outlook.levels[low]
    return Section(
        "Price prediction",
        text="Whether the forecaster beat a random walk when it was last evaluated: "
        f"{edges(outlook)}.  Where it says no, the random walk's interval is as good, and "
        "P(up) says nothing.\n\n"
        f"Returns in %, from the last close{_closed(outlook)}; intervals of "
        f"{100 * coverage:.0f} %.  What is held comes first, the largest position before "
        f"the others.  In the figures{_drawn(outlook)}, the middle half and the whole of "
        "the forecast, and the random walk's ends dashed.",
        table=price_table(outlook, values),
        figure=_fans(outlook, closes, order[:SHOWN_SYMBOLS]),
    )


def edges(outlook: Outlook) -> str:
    """Say at each horizon whether the forecaster had an edge, and its p-value."""
    return ", ".join(
        f"{bars} {'bar' if bars == 1 else 'bars'} {'yes' if edge else 'no'} (p = {p:.3f})"
        for bars, edge, p in zip(
            outlook.horizons_bars, outlook.edge, outlook.edge_p_value, strict=True
        )
    )


def price_table(
    outlook: Outlook, values: pd.Series, *, beside: bool = True
) -> pd.DataFrame:
    """One row a symbol, with the random walk's intervals beside its own or without.

    Args:
        outlook: the forecasts.
        values: what is held, by symbol; it comes first, the largest before the others.
        beside: whether the random walk's are there.
    """
    low, high = _ends(outlook)

    def interval(quantiles: Float64Array, row: int, horizon: int) -> str:
        ends = np.expm1(quantiles[row, horizon, [low, high]]) * 100
        return f"{ends[0]:+.1f}\N{NO-BREAK SPACE}{ends[1]:+.1f}"

    rows = []
    for row in _order(outlook, values):
        line: dict[str, object] = {
            "symbol": outlook.symbols[row],
            "last close": float(outlook.last_price[row]),
        }
        if outlook.last_at.nunique() > 1:
            line["closed"] = f"{outlook.last_at[row]:%Y-%m-%d}"
        for horizon, bars in enumerate(outlook.horizons_bars):
            line |= {
                f"P(up), {bars}": round(float(outlook.p_up[row, horizon]), 3),
                f"return, {bars}": interval(outlook.quantiles, row, horizon),
            }
            if beside:
                walk = interval(outlook.baseline_quantiles, row, horizon)
                line[f"random walk, {bars}"] = walk
        rows.append(line)
    return pd.DataFrame(rows)


def _order(outlook: Outlook, values: pd.Series) -> list[int]:
    """Places of the symbols: those held, by size, then the others as they stand."""
    names = dict.fromkeys([*largest_first(values).index, *outlook.symbols])
    return [outlook.symbols.index(name) for name in names]


def _drawn(outlook: Outlook) -> str:
    """Which of the symbols have a figure; nothing where all have."""
    count = len(outlook.symbols)
    return f", of the first {SHOWN_SYMBOLS} of {count}" if count > SHOWN_SYMBOLS else ""


def _closed(outlook: Outlook) -> str:
    """When all of them closed; nothing where the table tells each symbol's."""
    if outlook.last_at.nunique() > 1:
        return ""
    return f" of {outlook.last_at[0]:%Y-%m-%d %H:%M} UTC"


def _ends(outlook: Outlook) -> tuple[int, int]:
    """Places of the levels of the central interval that a table shows: 10 and 90 %."""
    return _place(outlook, 0.1), _place(outlook, 0.9)


def _place(outlook: Outlook, level: float) -> int:
    """Place of the level nearest to this one."""
    return int(np.abs(np.array(outlook.levels) - level).argmin())


def _fans(outlook: Outlook, closes: pd.DataFrame, shown: Sequence[int]) -> Figure:
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
