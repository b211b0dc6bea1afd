"""Whether a server answers, and what it has loaded."""

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
class Health:
    """How a server that answers is doing.

    Attributes:
        address: ``HOST:PORT``.
        live: its process works.
        ready: it has loaded every model of its repository.
    """

    address: str
    live: bool
    ready: bool
