"""What `deploy/monitoring` holds, as the tests ask for it."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import promql_parser
import yaml

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "monitoring"
JOB: Final = "megatick"

_VARIABLES: Final = {"$job": JOB, "$__rate_interval": "1m"}
"""What Grafana puts into a query before it asks."""


@dataclass(frozen=True)
class Query:
    """A PromQL expression, and the panel, rule or alert that it is of."""

    of: str
    text: str

    @property
    def metrics(self) -> set[str]:
        """The names of the series that it reads."""
        found: set[str] = set()

        def visit(node: Any) -> None:
            if isinstance(node, promql_parser.VectorSelector):
                assert node.name is not None, f"{self.of} reads series without a name"
                found.add(node.name)

        promql_parser.walk(promql_parser.parse(self.text), visit)
        return found


def dashboard() -> dict[str, Any]:
    """The dashboard as Grafana would import it."""
    loaded: dict[str, Any] = json.loads((FOLDER / "dashboard.json").read_text())
    return loaded


def dashboard_queries() -> list[Query]:
    """What its panels ask."""
    return [
        Query(f"{panel['title']} {target['refId']}", _filled(target["expr"]))
        for panel in dashboard()["panels"]
        for target in panel.get("targets", [])
    ]


def rules() -> list[dict[str, Any]]:
    """The rules of all groups."""
    groups = yaml.safe_load((FOLDER / "rules.yml").read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def rule_queries() -> list[Query]:
    """What the rules ask."""
    return [Query(rule.get("alert") or rule["record"], rule["expr"]) for rule in rules()]


def alerts() -> list[str]:
    """Names of the alerts."""
    return [rule["alert"] for rule in rules() if "alert" in rule]


def recorded() -> set[str]:
    """Names of the series that the rules write."""
    return {rule["record"] for rule in rules() if "record" in rule}


def _filled(expression: str) -> str:
    for variable, value in _VARIABLES.items():
        expression = expression.replace(variable, value)
    assert "$" not in re.sub(r'"[^"]*"', "", expression), expression
    return expression
