"""Every test that docs/faults.md names is there."""

from __future__ import annotations

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
PAGE = (TESTS.parent / "docs" / "faults.md").read_text(encoding="utf-8")


def test_every_line_names_tests_that_exist() -> None:
    tests = {
        name
        for path in TESTS.rglob("test_*.py")
        for name in re.findall(r"^def test_(\w+)\(", path.read_text(), re.M)
    }
    lines = re.findall(r"^\| (?!fault)[^-].*\| (.*?) \|$", PAGE, re.M)

    assert len(lines) > 15
    for named in lines:
        names = re.findall(r"`(\w+)`", named)
        assert names, named
        assert set(names) <= tests, named
