"""The ``megatick`` command where packages are not installed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

_START = """
import sys
sys.modules.update(dict.fromkeys({missing}))  # None there: an import finds no such module
from megatick_cli import main
main()
"""


def megatick_without(
    missing: Sequence[str], *arguments: object
) -> subprocess.CompletedProcess[str]:
    """Run the command in a process of its own, in which these packages are not there."""
    start = _START.format(missing=list(missing))
    return subprocess.run(
        [sys.executable, "-c", start, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
    )
