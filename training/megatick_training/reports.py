"""A report as one HTML page, with nothing to load from anywhere."""

from __future__ import annotations

import io
import math
import numbers
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import jinja2
import matplotlib
import pandas as pd
from markupsafe import Markup
from matplotlib.figure import Figure

from megatick_contract.files import whole
from megatick_export.hashes import sha256

_PACKAGES: Final = ("megatick_training", "megatick_export")


@dataclass(frozen=True, eq=False)
class Section:
    """One part of a report; what it lacks is left out.

    Attributes:
        title: its heading.
        text: paragraphs, parted by blank lines.
        table: its columns are shown, its index is not.
        figure: made with ``Figure()``, not with pyplot, which would keep it.
    """

    title: str
    text: str = ""
    table: pd.DataFrame | None = None
    figure: Figure | None = None


def write_report(
    path: Path,
    *,
    title: str,
    command: Sequence[str],
    data: Mapping[str, Path],
    sections: Sequence[Section],
) -> None:
    """Write the page; what stands at ``path`` stays until it is whole.

    Args:
        path: to write.
        title: heading of the page.
        command: that made it, a word an item, as ``sys.argv`` has it.
        data: files that it rests on, by what they are; their SHA-256 is told.
        sections: in order.
    """
    environment = jinja2.Environment(
        loader=jinja2.ChoiceLoader(  # the style is the receipt's
            [jinja2.PackageLoader(name, ".") for name in _PACKAGES]
        ),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "cell": cell,
        "numeric": numeric,
        "shell": shlex.join,
        "svg": svg,
    }
    page = environment.get_template("report.html.j2").render(
        title=title,
        command=command,
        made_utc=datetime.now(UTC).isoformat(timespec="seconds"),
        data=[(what, file, sha256(file)) for what, file in data.items()],
        sections=sections,
    )
    with whole(path) as unfinished:
        unfinished.write_text(page, encoding="utf-8")


def cell(value: object) -> str:
    """Write a value as people read it: four digits of a float, or all before its point.

    >>> [cell(value) for value in (0.123456, 1234567, float("nan"), None, True, "SPY")]
    ['0.1235', '1,234,567', '–', '–', 'yes', 'SPY']
    >>> [cell(value) for value in (-0.0, 195234.4, 1e-7)]
    ['0', '195,234', '1e-07']
    """
    match value:
        case None:
            return "–"
        case bool():
            return "yes" if value else "no"
        case numbers.Integral():
            return f"{int(value):,}"
        case numbers.Real():
            number = float(value) + 0.0  # which takes the sign off -0
            if not math.isfinite(number):
                return "–"
            return f"{number:,.0f}" if 1e4 <= abs(number) < 1e15 else f"{number:.4g}"
        case _:
            return str(value)


def numeric(table: pd.DataFrame) -> list[bool]:
    """Tell which columns are numbers, which stand flush right."""
    return [pd.api.types.is_numeric_dtype(kind) for kind in table.dtypes]


def svg(figure: Figure) -> Markup:
    """Draw a figure as an ``<svg>`` element: its text as text, and alike each time."""
    text = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "megatick"}):
        figure.savefig(text, format="svg", metadata={"Date": None})
    file = text.getvalue()
    return Markup(file[file.index("<svg") :])  # noqa: S704  HTML wants no XML declaration
