"""Options and paths that the tests of several folders share."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from exported import Exported
    from served import Served

collect_ignore = ["golden"]  # made by hand, in an environment with megatron-core

# torch reads it when it is imported, here and in every process that a test starts.  Its
# OpenMP threads wait for each other by spinning: where two processes share two cores, as
# the workers of `make test` do, a proof of a tiny network took up to 40 times the CPU time.
os.environ.setdefault("OMP_NUM_THREADS", "1")

if "MEGATICK_SERVER_PYTHON" in os.environ:  # `make test-sdk`
    from other_python import OtherServer

    from megatick_server import launcher

    launcher.TritonServer = OtherServer  # type: ignore[assignment,misc]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--golden",
        action="append",
        default=[],
        metavar="DIR",
        help="also hold every checkpoint in DIR/*/ to its reference.npz",
    )


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """A tiny checkpoint's repository for a CPU.  Serve or change only a copy of it."""
    from exported import export_tiny  # torch, which most tests do without

    return export_tiny(tmp_path_factory.mktemp("exported"))


@pytest.fixture(scope="session")
def served(
    exported: Exported, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """A copy of it, served by the real Triton."""
    from served import serve_copy

    with serve_copy(exported, tmp_path_factory.mktemp("served")) as served:
        yield served


@pytest.fixture(scope="session")
def exported_graph(tmp_path_factory: pytest.TempPathFactory) -> Exported:
    """The same checkpoint's bare graph.  Change only a copy of it."""
    from exported import export_tiny

    return export_tiny(tmp_path_factory.mktemp("exported_graph"), target="onnx")
