"""A report as one HTML page, with nothing to load from anywhere."""

from __future__ import annotations

import math
from pathlib import Path

import jinja2
from markupsafe import Markup


def write_page(
    path: Path, template: str, *, plots: dict[str, str], **values: object
) -> None:
    """Fill a template of this package and write it.

    Args:
        path: to write.
        template: its file's name.
        plots: SVG of our own making, which is not escaped; everything else is.
        values: what the template names.
    """
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("megatick_client.load", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["figure"] = figure
    drawn = {name: Markup(svg) for name, svg in plots.items()}  # noqa: S704  our own SVG
    page = environment.get_template(template).render(plots=drawn, **values)
    path.write_text(page, encoding="utf-8")


def figure(value: float) -> str:
    """Write a number as people read it: three digits where they matter, a dash for none.

    >>> [figure(value) for value in (0.1234, 12.34, 1234.5, float("nan"))]
    ['0.12', '12.3', '1,234', '–']
    """
    if not math.isfinite(value):
        return "–"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"
