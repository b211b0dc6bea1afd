"""Options and paths that the tests of several folders share."""

from __future__ import annotations

import os

import pytest

collect_ignore = ["golden"]  # made by hand, in an environment with megatron-core

# torch reads it when it is imported, here and in every process that a test starts.  Its
# OpenMP threads wait for each other by spinning: where two processes share two cores, as
# the workers of `make test` do, a proof of a tiny network took up to 40 times the CPU time.
os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        default=[],
        metavar="DIR",
        help="also hold every checkpoint in DIR/*/ to its reference.npz",
    )
