"""The command before any of its sub-commands is known."""

from __future__ import annotations

import subprocess
import sys

STOPPED_WHILE_IT_LOADS = """
import signal, sys
import megatick_cli

class Loading:
    def find_spec(self, name, path, target=None):
        if name == "megatick_cli.app":
            signal.raise_signal(signal.SIGTERM)

sys.meta_path.insert(0, Loading())
megatick_cli.main()
"""


def test_a_stop_while_it_loads_is_heeded_and_not_suffered() -> None:
    """A container's first process would otherwise run on until it is killed."""
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_WHILE_IT_LOADS], check=False, timeout=60
    )

    assert done.returncode == 128 + 15  # -15 were the kernel's doing
