"""Which calls lie within a reload, and the whole of it on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from exported import Exported
from open_loop import Called
from reload import Reload, main, touches


@pytest.mark.parametrize(
    ("due_s", "took_s", "within"),
    [(0, 0.9, False), (0, 1.1, True), (1.5, 0.1, True), (1.9, 5, True), (2.1, 1, False)],
)
def test_a_call_lies_within_a_reload(due_s: float, took_s: float, within: bool) -> None:
    assert touches(Called(due_s, took_s, "a:1"), Reload(1, 2)) is within


@pytest.mark.triton
def test_a_tiny_model_is_reloaded_under_calls(exported: Exported, tmp_path: Path) -> None:
    # So many calls that a reload, however short, has some.
    main(Path(exported.out), texts=None, seconds=1, rounds=1, share=0.01, out=tmp_path)

    figures = json.loads((tmp_path / "reload.json").read_text())
    assert figures["reload_s"] > 0
    for told in figures["calls"].values():
        assert told["calls"] > 0
        assert told["failed"] == 0
    first, most = figures["memory_first_and_most_mib"]
    assert most > first > 0
