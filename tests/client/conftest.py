"""The real Triton server, with stand-in models whose answers a reader can redo."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from held import Held
from stand_in import lay_out
from waiting import Waiting

from megatick_client import AsyncClient, Client
from megatick_server.launcher import ServeOptions, TritonServer

StartTriton = Callable[..., TritonServer]
MakeClient = Callable[..., Client]

collect_ignore = ["stand_in"]  # only Triton's Python can import what is there


@pytest.fixture(scope="session")
def start_triton(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartTriton]:
    """``start_triton(*models, opened=…, …)`` serves those stand-in models, or all.

    The rest are options of the server's own, such as ``tls``.  They stop together: each
    takes two seconds, in which it does nothing.
    """
    servers: list[TritonServer] = []

    def start(*models: str, **options: Any) -> TritonServer:
        repository = tmp_path_factory.mktemp("stand_in")
        lay_out(repository, models)
        served = ServeOptions(grpc_port=0, metrics_port=None, **options)
        server = TritonServer(repository, served)
        servers.append(server)
        server.start()
        server.wait_ready()
        return server

    yield start
    with ThreadPoolExecutor() as stopping:
        list(stopping.map(TritonServer.stop, servers))


@pytest.fixture(scope="session")
def address(start_triton: StartTriton) -> str:
    """Where every stand-in model is served."""
    return start_triton().endpoints.grpc


@pytest.fixture(scope="session")
def address_of_sentiment(start_triton: StartTriton) -> str:
    """Where ``sentiment`` is served, and nothing else."""
    return start_triton("sentiment", "sentiment_step").endpoints.grpc


@pytest.fixture(params=[Client, AsyncClient])
def make_client(request: pytest.FixtureRequest) -> MakeClient:
    """``make_client(address, …)`` is a client, or one that awaits and is waited for."""
    return Waiting if request.param is AsyncClient else Client


@pytest.fixture
def client(make_client: MakeClient, address: str) -> Iterator[Client]:
    with make_client(address) as client:
        yield client


@pytest.fixture
def dead_address() -> Iterator[str]:
    """Where nobody listens, and nobody else can: the port is taken."""
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{mute.getsockname()[1]}"


@pytest.fixture
def held(tmp_path: Path) -> Iterator[Held]:
    """A text over which a stand-in model stands still until it is let go."""
    held = Held(tmp_path / "held")
    yield held
    held.let_go()
