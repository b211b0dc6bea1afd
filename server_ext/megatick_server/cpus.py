"""How many CPUs this process may keep busy."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

CGROUPS: Final = Path("/sys/fs/cgroup")
OWN_GROUPS: Final = Path("/proc/self/cgroup")


def usable_cpus(cgroups: Path = CGROUPS, own_groups: Path = OWN_GROUPS) -> int:
    """Count the CPUs that the scheduler gives this process, and its quota.

    More threads than these would wait for each other: a quota of 2 CPUs on a machine of 64
    stops all 64 threads once they have used up their share of a period.

    Args:
        cgroups: where control groups are mounted, version 2 or 1.
        own_groups: names the process's own among them, which is the topmost in most
            containers, and further down in a service of systemd (``CPUQuota=``).

    Returns:
        At least 1.
    """
    allowed = len(os.sched_getaffinity(0))
    quota = min(_quotas_cpus(cgroups, own_groups), default=math.inf)
    return int(max(1, min(allowed, quota)))


def _quotas_cpus(cgroups: Path, own_groups: Path) -> Iterator[float]:
    """Read each quota that binds the process, in CPUs: its group's, and those above it.

    Source: Linux' cgroup-v2.rst (``cpu.max``: microseconds of each period), sched-bwc.rst
    (the same in two files, -1 for no limit), and cgroups(7) for ``/proc/self/cgroup``.
    """
    version_2, version_1 = _own_group(own_groups)
    for group in _downwards(cgroups, version_2):
        with contextlib.suppress(OSError):
            quota, period = (group / "cpu.max").read_text().split()
            if quota != "max":
                yield int(quota) / int(period)
    for group in _downwards(cgroups / "cpu", version_1):
        with contextlib.suppress(OSError):
            quota = (group / "cpu.cfs_quota_us").read_text().strip()
            period = (group / "cpu.cfs_period_us").read_text().strip()
            if quota != "-1":
                yield int(quota) / int(period)


def _own_group(own_groups: Path) -> tuple[str, str]:
    """The paths of the process's group, of version 2 and of version 1's ``cpu``."""
    version_2 = version_1 = "/"
    with contextlib.suppress(OSError):
        for line in own_groups.read_text().splitlines():
            number, controllers, path = line.split(":", 2)
            if (number, controllers) == ("0", ""):
                version_2 = path
            elif "cpu" in controllers.split(","):
                version_1 = path
    return version_2, version_1


def _downwards(top: Path, path: str) -> Iterator[Path]:
    """The topmost group, and each on the way down that path."""
    yield top
    for part in Path(path.lstrip("/")).parts:
        yield (top := top / part)
