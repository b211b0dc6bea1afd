"""The benchmark of the audit log, on a tiny model."""

from __future__ import annotations

import itertools
import json
from collections import Counter
from pathlib import Path

import audit
import pytest
from exported import Exported
from page import page
from record import RESULTS


def test_no_way_always_follows_the_same_one() -> None:
    """Of 240 turns of four ways, each pair stands together in 240 / 4 of them."""
    orders = [audit.shuffled("abcd", turn) for turn in range(240)]

    pairs = Counter(pair for order in orders for pair in itertools.pairwise(order))
    assert len(pairs) == 12
    assert all(count == pytest.approx(60, rel=0.4) for count in pairs.values())


@pytest.mark.triton
def test_ways_are_held_against_no_record(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ways = {way: audit.WAYS[way] for way in (audit.WITHOUT, "refuse, sync 0")}
    monkeypatch.setattr("audit.WAYS", ways)
    monkeypatch.setattr("audit._TEXTS", 20)
    counted: list[int] = []

    replies_of = audit.replies

    def replies(log: Path) -> int:
        counted.append(replies_of(log))
        return counted[-1] - 3

    monkeypatch.setattr("audit.replies", replies)

    audit.main(exported.out, calls=6, rounds=1, folder=tmp_path / "logs", out=tmp_path)

    found = json.loads((tmp_path / "audit.json").read_text())
    without, with_record = found["ways"].values()
    assert counted == [10 + 6 + 2 * 20]  # the warm-ups too
    assert (without["lost"], with_record["lost"]) == (0, 3)
    assert (without["more_ms"], without["per_s_over_without"]) == (0, 1)
    over = with_record["per_s"] / without["per_s"]  # of one round
    assert with_record["per_s_over_without"] == pytest.approx(over)
    assert 0 < with_record["p50_ms"] <= with_record["p99_ms"]
    assert found["disk_sync_ms"] > 0
    assert list((tmp_path / "logs").iterdir()) == []

    others = {file.stem: json.loads(file.read_text()) for file in RESULTS.glob("*.json")}
    assert "| `refuse` and `--audit-sync-s 0` | " in page(others | {"audit": found})
    others.pop("audit", None)
    (section,) = page(others).split("## 14. A record of every reply")[1:]
    assert "Not measured yet." in section
