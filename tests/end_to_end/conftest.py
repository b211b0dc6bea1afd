"""A tiny checkpoint, exported and served by the real Triton."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from served import Served

from megatick_client import Client

collect_ignore = ["stand_in"]  # only Triton's Python can import what is there


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.server.endpoints.grpc, timeout_s=30) as client:
        yield client
