"""Figures of a table or a dataclass, on a terminal and as JSON."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

if TYPE_CHECKING:
    import pandas as pd


def print_frame(title: str, frame: pd.DataFrame) -> None:
    """Print a table as its report shows it."""
    from megatick_training.reports import cell, numeric

    table = Table(
        title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0)
    )
    for name, right in zip(frame.columns, numeric(frame), strict=True):
        words = [name, *map(str, frame[name])]
        table.add_column(
            name,
            justify="right" if right else "left",
            no_wrap=not any(" " in word for word in words),  # narrow the others first
            overflow="fold",  # a figure cut short would be another figure
        )
    for row in frame.itertuples(index=False, name=None):
        table.add_row(*map(cell, row))
    console = Console()
    unlimited = console.options.update(max_width=10_000)
    console.width = max(console.width, console.measure(table, options=unlimited).minimum)
    console.print(table)


def finite(value: object) -> object:
    """The same with null in place of what JSON has no number for.

    >>> finite({"a": (1.5, float("nan"))})
    {'a': [1.5, None]}
    """
    if isinstance(value, dict):
        return {name: finite(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [finite(each) for each in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
