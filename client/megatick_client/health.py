"""Whether servers answer, what they have loaded, and what they are."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelStatus:
    """One of the public models on a server.

    Attributes:
        name: Triton's name of it, such as ``"sentiment"``.
        ready: it can answer now.
        versions: its loaded versions, as Triton names them; empty where it has none.
    """

    name: str
    ready: bool
    versions: tuple[str, ...]


@dataclass(frozen=True)
class ServerHealth:
    """How one server is doing.

    Attributes:
        address: ``HOST:PORT``.
        live: its process works.
        ready: it has loaded every model of its repository.
        problem: why it does not answer; empty where it does.
    """

    address: str
    live: bool
    ready: bool
    problem: str = ""


@dataclass(frozen=True)
class Health:
    """How the servers are doing.

    Attributes:
        servers: in the order of the client's addresses.
    """

    servers: tuple[ServerHealth, ...]

    @property
    def live(self) -> bool:
        """A server's process works."""
        return any(server.live for server in self.servers)

    @property
    def ready(self) -> bool:
        """A server has loaded every model of its repository, so that calls are answered."""
        return any(server.ready for server in self.servers)


@dataclass(frozen=True)
class ServerMetadata:
    """What one server says of itself.

    Attributes:
        address: ``HOST:PORT``.
        name: ``"triton"``, of a Triton server.
        version: its release, such as ``"2.51.0"``.
        extensions: of the protocol, as KServe v2 names them.
    """

    address: str
    name: str
    version: str
    extensions: tuple[str, ...]
