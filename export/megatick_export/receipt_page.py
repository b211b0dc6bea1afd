"""The receipt as one page to read, with nothing to load from anywhere."""

from __future__ import annotations

import shlex
from pathlib import Path

import jinja2

from megatick_export.receipt import Receipt


def write_page(receipt: Receipt, path: Path) -> None:
    """Write ``receipt.html``."""
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("megatick_export", "."),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["shell"] = shlex.join
    page = environment.get_template("receipt_page.html.j2").render(receipt=receipt)
    path.write_text(page, encoding="utf-8")
