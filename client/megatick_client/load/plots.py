"""Line plots as SVG text, to stand inside a page that loads nothing."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullFormatter

from megatick_client.load.schedule import FloatArray

_COLOURS: Final = ("#c2410c", "#1d4ed8", "#15803d", "#7c3aed", "#525252")
"""Told apart by the colour-blind as well; the dashes are for print."""

_DASHES: Final = ("-", "--", "-.", ":", "-")


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a plot; points that are NaN leave a gap.

    Attributes:
        name: in the legend.
        x: float64, shape (points,).
        y: float64, of the same shape.
    """

    name: str
    x: FloatArray
    y: FloatArray


def line_plot(
    lines: Sequence[Line],
    *,
    x_label: str,
    y_label: str,
    log_y: bool = False,
    markers: bool = False,
    x_ticks: Mapping[float, str] | None = None,
) -> str:
    """Draw lines; the axes begin at 0 unless they are logarithmic.

    Args:
        lines: at least one.
        x_label: with its unit.
        y_label: likewise.
        log_y: a logarithmic y axis.
        markers: mark the points.
        x_ticks: positions and what stands there; makes the x axis logarithmic.

    Returns:
        An ``<svg>`` element.
    """
    figure = Figure(figsize=(8, 3.4), layout="constrained")
    axes = figure.add_subplot(xlabel=x_label, ylabel=y_label)
    for number, line in enumerate(lines):
        axes.plot(
            line.x,
            line.y,
            label=line.name,
            color=_COLOURS[number % len(_COLOURS)],
            linestyle=_DASHES[number % len(_DASHES)],
            marker="o" if markers else "",
            markersize=3.5,
            linewidth=1.4,
        )
    if log_y:
        axes.set_yscale("log")
        plain = FuncFormatter(lambda value, _: f"{value:g}")
        axes.yaxis.set_major_formatter(plain)
        axes.yaxis.set_minor_formatter(
            plain if _within_a_decade(lines) else NullFormatter()
        )
    else:
        axes.set_ylim(bottom=0)
    if x_ticks is not None:
        axes.set_xscale("log")
        axes.set_xticks(list(x_ticks), labels=list(x_ticks.values()))
        axes.xaxis.set_minor_formatter(NullFormatter())
        axes.set_xlim(min(x_ticks), max(x_ticks))
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, fontsize="small")
    return _svg(figure)


def _within_a_decade(lines: Sequence[Line]) -> bool:
    """Tell whether a logarithmic axis has too few decades to be read by them alone."""
    values = np.concatenate([line.y[np.isfinite(line.y)] for line in lines])
    return bool(len(values)) and bool(values.max() < 10 * values.min())


def _svg(figure: Figure) -> str:
    """Write a figure with its text as text, and alike each time."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "megatick"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    whole = text.getvalue()
    return whole[whole.index("<svg") :]  # HTML wants no XML declaration inside
