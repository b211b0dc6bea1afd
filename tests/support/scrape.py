"""What a server's metrics port tells."""

from __future__ import annotations

import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

WAIT_S = 60.0


@dataclass(frozen=True)
class Scrape:
    """Values by name and labels."""

    values: dict[tuple[str, frozenset[tuple[str, str]]], float]

    @property
    def names(self) -> set[str]:
        """Names of all series."""
        return {name for name, _ in self.values}

    def count(self, name: str) -> int:
        """How many series have that name."""
        return sum(each == name for each, _ in self.values)

    def of(self, name: str, **labels: str) -> float:
        """The one series that has a name and exactly these labels."""
        return self.values[name, frozenset(labels.items())]

    def total(self, name: str, **labels: str) -> float:
        """The sum of those that have a name and at least these labels."""
        wanted = labels.items()
        found = [v for (n, has), v in self.values.items() if n == name and wanted <= has]
        assert found, f"no series of {name} has {labels}"
        return sum(found)


def scrape(endpoint: str) -> Scrape:
    """Read a metrics port once, given its host:port."""
    with urllib.request.urlopen(f"http://{endpoint}/metrics") as reply:
        text = reply.read().decode()
    return Scrape(
        {
            (_as_written(sample.name, text), frozenset(sample.labels.items())): sample.value
            for family in text_string_to_metric_families(text)
            for sample in family.samples
        }
    )


def _as_written(name: str, text: str) -> str:
    """The parser gives every counter the suffix ``_total``."""
    return name if f"\n{name}{{" in text else name.removesuffix("_total")


def scrape_when(endpoint: str, ready: Callable[[Scrape], bool]) -> Scrape:
    """Read it until it says what is waited for: a server tells every two seconds."""
    deadline = time.monotonic() + WAIT_S
    while not ready(found := scrape(endpoint)):
        assert time.monotonic() < deadline, "what was waited for never came"
        time.sleep(0.1)
    return found
