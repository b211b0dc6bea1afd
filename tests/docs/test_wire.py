"""docs/wire.md is what the contract says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]


def test_the_tables_are_the_contracts() -> None:
    made = subprocess.run(
        [sys.executable, REPOSITORY / "tools" / "wire_tables.py"],
        capture_output=True,
        text=True,
        check=True,
        encoding="utf-8",
    )

    assert made.stdout == (REPOSITORY / "docs" / "wire.md").read_text(encoding="utf-8")
