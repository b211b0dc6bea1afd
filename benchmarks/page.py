"""Write docs/benchmarks.md and its plots from what the benchmarks left.

    python benchmarks/page.py

The page's frame is ``page.md.j2``; what is to be said of the figures stands in
``notes.toml``, and the figures in ``results/``.
"""

from __future__ import annotations

import json
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import jinja2
import numpy as np
from record import RESULTS

from megatick_client.load.page import figure
from megatick_client.load.plots import Line, line_plot

HERE: Final = Path(__file__).parent
DOCS: Final = HERE.parent / "docs"


def main() -> None:
    """Write the page."""
    results = {
        path.stem: json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json"))
    }
    drawn = plots(results)
    folder = DOCS / "plots"
    folder.mkdir(exist_ok=True)
    for name, svg in drawn.items():
        (folder / f"{name}.svg").write_text(svg + "\n", encoding="utf-8")
    (DOCS / "benchmarks.md").write_text(page(results), encoding="utf-8")


def page(results: Mapping[str, Any]) -> str:
    """Fill the template."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE),
        autoescape=False,  # noqa: S701  Markdown, of our own figures
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["figure"] = figure
    environment.filters["percent"] = lambda value: f"{100 * value:.1f} %"
    environment.filters["combined"] = lambda first, second: first | second
    environment.globals["source"] = source
    notes = tomllib.loads((HERE / "notes.toml").read_text(encoding="utf-8"))
    return environment.get_template("page.md.j2").render(results=results, notes=notes)


def source(result: Mapping[str, Any]) -> str:
    """Say what made a result: command, machine, date."""
    subject = result.get("subject") or {}
    model = ""
    if subject:
        millions = subject["parameters"] / 1e6
        model = f", {millions:.0f}M parameters in {subject['precision']}"
    load = result["load_average_at_end"]
    return (
        f"`{result['command']}`{model}; {result['date_utc'][:10]}, {result['machine']}, "
        f"{result['cpus']} CPUs, load average {load:.1f} at the end"
    )


def plots(results: Mapping[str, Any]) -> dict[str, str]:
    """Draw what there is."""
    drawn: dict[str, str] = {}
    if served := results.get("served_over_raw"):
        per_s = served["served_per_s"]
        clients = np.array([float(level) for level in per_s])
        drawn["throughput"] = line_plot(
            [
                Line("served", clients, np.array(list(per_s.values()))),
                Line("bare engine", clients, np.full(len(clients), served["raw_per_s"])),
            ],
            x_label="calls in flight",
            y_label="texts a second",
            markers=True,
            x_ticks={float(each): f"{each:g}" for each in clients},
        )
    if offered := results.get("offered_rate"):
        rates = offered["rates"]
        drawn["latency"] = line_plot(
            [
                Line(
                    which,
                    np.array([each["offered_per_s"] for each in rates]),
                    np.array([each[f"{which}_ms"] for each in rates]),
                )
                for which in ("p50", "p90", "p99")
            ],
            x_label="offered texts a second",
            y_label="ms from when a call was due",
            log_y=True,
            markers=True,
        )
    if scaling := results.get("scaling"):
        drawn["cost"] = line_plot(
            [
                Line(
                    f"{name_of(model['subject'])}, {kind.replace('_', ' ')}",
                    np.array([float(each["tokens"]) for each in model[kind]]),
                    np.array([each["us_per_token"] for each in model[kind]]),
                )
                for model in scaling["models"]
                for kind in ("one_text", "headlines")
            ],
            x_label="tokens in all",
            y_label="microseconds a token",
            log_y=True,
            markers=True,
            x_ticks={10.0**power: f"{10**power:,}" for power in range(5)},
        )
    return drawn


def name_of(subject: Mapping[str, Any]) -> str:
    """Name a model by its size and precision."""
    return f"{subject['parameters'] / 1e6:.0f}M {subject['precision']}"


if __name__ == "__main__":
    main()
