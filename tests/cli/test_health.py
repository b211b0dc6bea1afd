"""``megatick health`` against a gRPC server of this process."""

from __future__ import annotations

import socket
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import pytest
from endpoint import Endpoint, serve
from tritonclient.grpc import service_pb2
from typer.testing import CliRunner

from megatick_cli.app import app
from megatick_client import DeadlineExceeded, ModelNotReady, ServerUnavailable


class Loading(Endpoint):
    """It answers, and a model of it is not loaded."""

    def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerReadyResponse(ready=False)


@dataclass
class Hanging(Endpoint):
    """It answers once it is released."""

    released: threading.Event = field(default_factory=threading.Event)

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        self.released.wait(20)
        return service_pb2.ServerLiveResponse(live=True)


def health(address: str, *options: str) -> tuple[int, str]:
    result = CliRunner().invoke(app, ["health", "--address", address, *options])
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result.exit_code, result.stdout


def test_a_server_that_is_ready() -> None:
    with serve(Endpoint()) as server:
        assert health(server.address) == (0, f"{server.address} is ready\n")


def test_a_server_that_has_not_loaded_a_model() -> None:
    with serve(Loading()) as server, pytest.raises(ModelNotReady, match=server.address):
        health(server.address)


def test_a_server_that_hangs() -> None:
    server = Hanging()
    with serve(server):
        begin_s = time.monotonic()
        with pytest.raises(DeadlineExceeded, match=server.address):
            health(server.address, "--timeout-s", "0.5")
        server.released.set()
    assert time.monotonic() - begin_s < 4.0  # the default is 5


def test_nobody_answers() -> None:
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"

        with pytest.raises(ServerUnavailable, match=address):
            health(address)
