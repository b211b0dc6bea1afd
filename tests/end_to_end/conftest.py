"""A tiny checkpoint, exported and served by the real Triton."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from served import Served
from tiny import write_tiny
from tokenizers import Tokenizer

from megatick_client import Client
from megatick_export import (
    ExportOptions,
    export_repository,
    read_checkpoint,
    reference_network,
)
from megatick_server.launcher import ServeOptions, TritonServer


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder: Path = tmp_path_factory.mktemp("served")
    checkpoint = write_tiny(folder / "checkpoint")
    receipt = export_repository(
        checkpoint, folder / "repository", options=ExportOptions(precision="fp32")
    )
    options = ServeOptions(grpc_port=0, http_port=0, metrics_port=None)
    with TritonServer(folder / "repository", options) as server:
        yield Served(
            server,
            receipt,
            reference_network(read_checkpoint(checkpoint)),
            Tokenizer.from_file(str(checkpoint / "tokenizer.json")),
        )


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with Client(served.server.endpoints.grpc, timeout_s=30) as client:
        yield client
