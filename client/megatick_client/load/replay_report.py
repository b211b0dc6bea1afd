"""A replay as files: JSON for programs, CSV and HdrHistogram logs for tools, a page."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from megatick_client.load.histogram import Latency, percentile_curve, write_log
from megatick_client.load.intervals import cut
from megatick_client.load.page import write_page
from megatick_client.load.plots import Line, line_plot
from megatick_client.load.records import ANSWERED
from megatick_client.load.result import ReplayResult
from megatick_client.load.schedule import FloatArray

INTERVAL_S: Final = 1.0
FROM_DUE: Final = "from the intended start"
FROM_SEND: Final = "from the actual send"

_NINES: Final = {
    1.0: "0",
    2.0: "50 %",
    10.0: "90 %",
    100.0: "99 %",
    1e3: "99.9 %",
    1e4: "99.99 %",
    1e5: "99.999 %",
}
"""1 / (1 - quantile): a logarithmic axis that gives each further nine the same room."""


def write_replay(result: ReplayResult, folder: Path) -> tuple[Path, ...]:
    """Write ``replay.json``, ``intervals.csv``, two ``.hlog`` and ``replay.html``.

    Args:
        result: of ``replay``.
        folder: made if absent; files of these names in it are replaced.

    Returns:
        The files.
    """
    import pandas as pd

    folder.mkdir(parents=True, exist_ok=True)
    document, table = folder / "replay.json", folder / "intervals.csv"
    document.write_text(result.to_json(), encoding="utf-8")
    rows = [asdict(each) for each in result.intervals(INTERVAL_S)]
    pd.DataFrame(rows).to_csv(table, index=False, float_format="%.3f")
    records = result.records
    logs = (
        (folder / "from_intended_start.hlog", FROM_DUE, records.from_due_s),
        (folder / "from_actual_send.hlog", FROM_SEND, records.from_send_s),
    )
    answered = records.are(ANSWERED)
    cuts = cut(records, duration_s=result.duration_s, interval_s=INTERVAL_S)
    for path, name, seconds in logs:
        write_log(
            path,
            [seconds[each[answered[each]]] for each in cuts],
            interval_s=INTERVAL_S,
            started_s=result.started_at_s,
            comment=f"Latency of {result.model} {name}, in ns",
        )
    page = folder / "replay.html"
    started = datetime.fromtimestamp(result.started_at_s, UTC)
    write_page(
        page,
        "replay.html.j2",
        plots=_plots(result) if answered.any() else {},
        result=result,
        started=f"{started:%Y-%m-%d %H:%M:%S} UTC",
        latencies=latencies(result),
        settings=asdict(result.options) | {"score_tolerance": result.tolerance},
    )
    return document, table, *(path for path, _, _ in logs), page


def latencies(result: ReplayResult) -> tuple[tuple[str, Latency], ...]:
    """Both definitions and how late the sender was, each with its name."""
    return (
        (FROM_DUE, result.from_due),
        (FROM_SEND, result.from_send),
        ("send lag", result.lag),
    )


def _plots(result: ReplayResult) -> dict[str, str]:
    intervals = result.intervals(INTERVAL_S)

    def column(name: str) -> FloatArray:
        return np.array([getattr(each, name) for each in intervals], dtype=np.float64)

    start_s = column("start_s")
    lengths_s = np.minimum(INTERVAL_S, result.duration_s - start_s)
    per_s = {
        name: Line(label, start_s, column(name) / lengths_s)
        for name, label in (
            ("due", "offered"),
            ("answered", "answered"),
            ("good", "good (right, within the SLO)"),
        )
    }
    by_second = [
        Line(f"{which} {definition}", start_s, column(f"{key}_{which}_ms"))
        for definition, key in ((FROM_DUE, "from_due"), (FROM_SEND, "from_send"))
        for which in ("p50", "p99")
    ]
    return {
        "curve": _curve(result),
        "rates": line_plot(list(per_s.values()), x_label="s", y_label="calls/s"),
        "latency": line_plot(by_second, x_label="s", y_label="latency, ms", log_y=True),
    }


def _curve(result: ReplayResult) -> str:
    answered = result.records.are(ANSWERED)
    lines = []
    for name, seconds in (
        (FROM_DUE, result.records.from_due_s),
        (FROM_SEND, result.records.from_send_s),
    ):
        percentiles, ms = percentile_curve(seconds[answered])
        tail = np.maximum(1 - percentiles / 100, 1 / len(result.records))
        lines.append(Line(name, 1 / tail, ms))
    ticks = {at: label for at, label in _NINES.items() if at < 10 * len(result.records)}
    return line_plot(
        lines, x_label="percentile", y_label="latency, ms", log_y=True, x_ticks=ticks
    )
