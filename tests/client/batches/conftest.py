"""A client of an endpoint of this process."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from batch_world import Troubled
from endpoint import serve

from megatick_client import Client, Retries


@pytest.fixture
def endpoint() -> Iterator[Troubled]:
    with serve(Troubled()) as endpoint:
        yield endpoint


@pytest.fixture
def client(endpoint: Troubled) -> Iterator[Client]:
    with Client(endpoint.address, retries=Retries(first_wait_s=0.001)) as client:
        yield client
