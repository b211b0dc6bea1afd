"""Programs that some tests want, and nothing else needs."""

from __future__ import annotations

import shutil
import sys
from typing import Final

import pytest

_FROM: Final = {
    "helm": "`make helm`",
    "prometheus": "`make prometheus`",
    "promtool": "`make prometheus`",
    "systemd-analyze": "the package systemd",
}


def find_tool(name: str) -> str:
    """Where one of them is; the test is skipped where it is not."""
    found = shutil.which(name) or shutil.which(name, path=f"{sys.prefix}/bin")
    if found is None:
        pytest.skip(f"no {name} on this machine: {_FROM[name]} brings it")
    return found
