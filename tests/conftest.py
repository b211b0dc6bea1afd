"""Options and paths that the tests of several folders share."""

from __future__ import annotations

import pytest

collect_ignore = ["golden"]  # made by hand, in an environment with megatron-core


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        default=[],
        metavar="DIR",
        help="also hold every checkpoint in DIR/*/ to its reference.npz",
    )
