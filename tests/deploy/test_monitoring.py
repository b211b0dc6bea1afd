"""The dashboard and the rules: that they load, and ask for nothing that is not told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import promql_parser
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from monitoring import (
    FOLDER,
    Query,
    alerts,
    dashboard,
    dashboard_queries,
    recorded,
    rule_queries,
    rules,
)
from programs import find_tool

from megatick_server.metrics import METRICS, Counter, Histogram, Metric

PAGE = (Path(__file__).parents[2] / "docs" / "monitoring.md").read_text()
QUERIES = [*dashboard_queries(), *rule_queries()]


def series_of(metric: Metric) -> set[str]:
    if not isinstance(metric, Histogram):
        return {metric.name}
    return {f"{metric.name}_{part}" for part in ("bucket", "sum", "count")}


def lost(before: Any, after: Any, place: str = "") -> list[str]:
    """Where a file holds what did not come through."""
    if isinstance(before, dict):
        return [
            where
            for key, value in before.items()
            for where in (
                lost(value, after[key], f"{place}.{key}")
                if isinstance(after, dict) and key in after
                else [f"{place}.{key}"]
            )
        ]
    if isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        return [
            where
            for number, (one, other) in enumerate(zip(before, after, strict=True))
            for where in lost(one, other, f"{place}[{number}]")
        ]
    return [] if before == after else [place]


def test_grafanas_schema_knows_every_key_of_the_dashboard() -> None:
    register_default_plugins()
    read = Dashboard.from_json(dashboard())

    assert lost(dashboard(), json.loads(JSONEncoder().encode(read))) == []


def test_panels_have_ids_of_their_own_and_do_not_overlap() -> None:
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    taken: set[tuple[int, int]] = set()
    for panel in panels:
        at = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(at["x"], at["x"] + at["w"])
            for y in range(at["y"], at["y"] + at["h"])
        }
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24, panel["title"]
        taken |= cells


@pytest.mark.parametrize("query", QUERIES, ids=lambda query: query.of)
def test_a_query_is_promql_and_asks_for_metrics_that_exist(query: Query) -> None:
    promql_parser.parse(query.text)

    told = {name for metric in METRICS for name in series_of(metric)} | recorded()
    ours = {name for name in query.metrics if name.startswith("megatick")}
    assert query.metrics
    assert ours <= told
    # Triton's own are looked for in a scrape, in tests/end_to_end/test_metrics.py.
    others = query.metrics - ours
    assert all(name == "up" or name.startswith("nv_") for name in others)


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_shown_and_explained(metric: Metric) -> None:
    assert any(series_of(metric) & query.metrics for query in dashboard_queries())
    (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| `{metric.name}` |")]
    _, _, kind, labels, _, _ = (cell.strip() for cell in row.split("|"))
    assert kind == type(metric).__name__.lower()
    assert labels == ("`model`" if not metric.label else f"`model`, `{metric.label}`")


def test_counters_are_read_by_their_growth() -> None:
    # A counter's own value says how long the server has been up.
    counters = {each.name for each in METRICS if isinstance(each, Counter)}
    for query in QUERIES:
        for name in counters & query.metrics:
            growing = query.text.count(f"rate({name}") + query.text.count(
                f"increase({name}"
            )
            assert growing == query.text.count(name), query


@pytest.mark.parametrize("alert", alerts())
def test_an_alert_is_explained_and_proven(alert: str) -> None:
    assert PAGE.count(f"\n| `{alert}` |") == 1
    assert f"alertname: {alert}\n" in (FOLDER / "rules_test.yml").read_text()
    (rule,) = [each for each in rules() if each.get("alert") == alert]
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"]


@pytest.mark.parametrize(
    "command",
    [
        ["check", "config", "prometheus.yml"],
        ["check", "rules", "rules.yml"],
        ["test", "rules", "rules_test.yml"],
    ],
    ids=" ".join,
)
def test_promtool_agrees(command: list[str]) -> None:
    promtool = find_tool("promtool")

    done = subprocess.run(
        [promtool, *command], cwd=FOLDER, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert "SUCCESS" in done.stdout + done.stderr
