"""A sweep as files: JSON for programs, CSV for tables, a page to read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import numpy as np

from megatick_client.load.page import write_page
from megatick_client.load.plots import Line, line_plot
from megatick_client.load.sweep import Sweep

AXES = {"concurrency": "calls in flight", "request-rate": "calls/s offered"}


def write_sweep(result: Sweep, folder: Path) -> tuple[Path, ...]:
    """Write ``loadtest.json``, ``loadtest.csv`` and ``loadtest.html``; returns them."""
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    document, table = folder / "loadtest.json", folder / "loadtest.csv"
    page = folder / "loadtest.html"
    document.write_text(result.to_json(), encoding="utf-8")
    rows = [asdict(each) for each in result.levels]
    pd.DataFrame(rows).to_csv(table, index=False, float_format="%.4g")
    write_page(
        page,
        "loadtest.html.j2",
        plots=_plots(result) if result.best is not None else {},
        result=result,
        axis=AXES[result.options.mode],
        settings=asdict(result.options),
    )
    return document, table, page


def _plots(result: Sweep) -> dict[str, str]:
    axis = AXES[result.options.mode]
    levels = sorted(result.levels, key=lambda each: each.level)
    at = np.array([each.level for each in levels], dtype=np.float64)

    def line(name: str, attribute: str) -> Line:
        values = [getattr(each, attribute) for each in levels]
        return Line(name, at, np.array(values, dtype=np.float64))

    return {
        "throughput": line_plot(
            [line("answered", "rows_per_s")],
            x_label=axis,
            y_label="rows/s",
            markers=True,
        ),
        "latency": line_plot(
            [line(name, f"{name}_ms") for name in ("p50", "p90", "p95", "p99")],
            x_label=axis,
            y_label="latency from the send, ms",
            markers=True,
        ),
        "where": line_plot(
            [
                line("the whole call", "mean_ms"),
                line("of it in the server", "in_server_ms"),
            ],
            x_label=axis,
            y_label="mean, ms",
            markers=True,
        ),
    }
