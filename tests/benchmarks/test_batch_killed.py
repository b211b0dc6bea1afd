"""What the figures of a killed batch are made of."""

from __future__ import annotations

import csv
import os
import signal
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
from batch_killed import kept, lost_and_doubled, peak_of, run_until, write_rows


@pytest.mark.parametrize(
    ("ids", "lost", "doubled"),
    [
        pytest.param([0, 1, 2, 3], 0, 0, id="every-row-once"),
        pytest.param([3, 0, 2], 1, 0, id="without-1"),
        pytest.param([0, 1, 1, 2, 3, 1], 0, 2, id="1-three-times"),
        pytest.param([0, 0, 3], 2, 1, id="0-for-1-and-without-2"),
    ],
)
def test_lost_and_doubled(ids: list[int], lost: int, doubled: int) -> None:
    assert lost_and_doubled(np.array(ids), rows=4) == (lost, doubled)


def test_rows_are_numbered_and_their_texts_repeat(tmp_path: Path) -> None:
    write_rows(tmp_path / "rows.csv", 7, texts=3)

    with (tmp_path / "rows.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))

    assert [row["id"] for row in rows] == [str(number) for number in range(7)]
    assert rows[0]["text"] == rows[3]["text"] == rows[6]["text"]
    assert len({row["text"] for row in rows}) == 3


def test_nothing_is_kept_without_a_job(tmp_path: Path) -> None:
    assert kept(tmp_path / "scores.parquet") == 0


def test_the_peak_holds_what_was_resident() -> None:
    before = psutil.Process().memory_info().rss

    np.ones(2**28 // 8)  # 256 MiB, given back at once

    assert peak_of(os.getpid()) > before + 0.9 * 2**28


def test_killed_once_it_is_enough(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program = tmp_path / "megatick"
    program.write_text(f"#!/bin/sh\ntouch {tmp_path}/begun\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))

    ran = run_until((), (tmp_path / "begun").exists)

    assert ran.status == -signal.SIGKILL
    assert 0 < ran.seconds < 60
    assert ran.peak_bytes > 0
