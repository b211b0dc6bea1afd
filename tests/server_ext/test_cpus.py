"""Threads from the scheduler's mask and the container's quota."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from megatick_server.cpus import usable_cpus


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        pytest.param({"cpu.max": "200000 100000\n"}, 2, id="v2"),
        pytest.param({"cpu.max": "250000 100000\n"}, 2, id="v2-a-part-of-a-cpu"),
        pytest.param({"cpu.max": "50000 100000\n"}, 1, id="v2-less-than-one"),
        pytest.param({"cpu.max": "max 100000\n"}, 8, id="v2-no-limit"),
        pytest.param({"cpu.max": "6400000 100000\n"}, 8, id="v2-more-than-there-are"),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "300000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            3,
            id="v1",
        ),
        pytest.param(
            {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"},
            8,
            id="v1-no-limit",
        ),
        pytest.param({}, 8, id="no-control-group"),
        pytest.param(
            {"system.slice/megatick.service/cpu.max": "200000 100000\n"},
            2,
            id="v2-of-a-service",
        ),
        pytest.param(
            {
                "system.slice/cpu.max": "300000 100000\n",
                "system.slice/megatick.service/cpu.max": "max 100000\n",
            },
            3,
            id="v2-of-the-slice-above-it",
        ),
        pytest.param(
            {"system.slice/another.service/cpu.max": "100000 100000\n"},
            8,
            id="v2-of-another-service",
        ),
        pytest.param(
            {
                "cpu/pods/one/cpu.cfs_quota_us": "400000\n",
                "cpu/pods/one/cpu.cfs_period_us": "100000\n",
            },
            4,
            id="v1-of-a-group",
        ),
    ],
)
def test_no_more_threads_than_cpus_or_quota(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    files: dict[str, str],
    expected: int,
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    own_groups = tmp_path / "own"
    own_groups.write_text(
        "5:cpuset:/\n1:cpu,cpuacct:/pods/one\n0::/system.slice/megatick.service\n"
    )

    assert usable_cpus(tmp_path, own_groups) == expected
