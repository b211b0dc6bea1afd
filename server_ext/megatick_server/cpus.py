"""How many CPUs this process may keep busy."""

from __future__ import annotations

import math
import os
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")


def usable_cpus(cgroups: Path = CGROUPS) -> int:
    """Count the CPUs that the scheduler gives this process, and its container's quota.

    More threads than these would wait for each other: a quota of 2 CPUs on a machine of 64
    stops all 64 threads once they have used up their share of a period.

    Args:
        cgroups: where the container's control group is mounted, version 2 or 1.

    Returns:
        At least 1.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = _quota_cpus(cgroups)
    return allowed if quota is None else max(1, min(allowed, math.floor(quota)))


def _quota_cpus(cgroups: Path) -> float | None:
    """Read the quota, in CPUs; None where there is none.

    Source: Linux' cgroup-v2.rst (``cpu.max``: microseconds of each period) and
    sched-bwc.rst (the same in two files, -1 for no limit).
    """
    try:
        if (version_2 := cgroups / "cpu.max").is_file():
            quota, period = version_2.read_text().split()
        else:
            quota = (cgroups / "cpu/cpu.cfs_quota_us").read_text().strip()
            period = (cgroups / "cpu/cpu.cfs_period_us").read_text().strip()
    except OSError:
        return None
    return None if quota in ("max", "-1") else int(quota) / int(period)
