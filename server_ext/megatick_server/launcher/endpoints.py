"""Where the server listens: pick free ports, and refuse taken ones before it starts."""

from __future__ import annotations

import errno
import socket
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from random import SystemRandom
from typing import Final

from megatick_server.errors import AddressError
from megatick_server.launcher.options import ServeOptions

_WHY: Final = {
    errno.EADDRINUSE: (
        "another process listens there",
        "Stop it (`ss -ltnp` shows which), or choose another port by `megatick serve`'s "
        "--grpc-port, --http-port or --metrics-port; 0 picks a free one.",
    ),
    errno.EADDRNOTAVAIL: (
        "this machine has no such address",
        "`ip address` lists those it has.",
    ),
    errno.EACCES: (
        "ports below 1024 need privileges",
        "Choose another port.",
    ),
}
_LOWEST: Final = 10_000
_TRIES: Final = 20
_RANDOM: Final = SystemRandom()  # two processes never draw alike, whatever they seed


@dataclass(frozen=True)
class Endpoints:
    """``host:port`` of each service; None is closed."""

    grpc: str
    http: str | None
    metrics: str | None


def choose_endpoints(options: ServeOptions) -> Endpoints:
    """Turn options into ports that were free a moment ago.

    All are held together while choosing, so two services never get the same port.
    They are let go before the server binds them: it reports what happens in between, which
    is why a free one is not drawn from those that any connection may be given.

    Raises:
        AddressError: a port is taken, or the address is not this machine's.
    """
    with ExitStack() as held:

        def choose(service: str, address: str, port: int | None) -> str | None:
            return None if port is None else _hold(held, service, address, port)

        grpc = _hold(held, "gRPC", options.address, options.grpc_port)
        http = choose("HTTP", options.address, options.http_port)
        metrics = choose("metrics", options.metrics_address, options.metrics_port)
        return Endpoints(grpc, http, metrics)


def _hold(held: ExitStack, service: str, address: str, port: int) -> str:
    """Listen on a port; a free one is picked where connections that go out take none."""
    if port == 0:
        for candidate in _RANDOM.sample(range(_LOWEST, _first_of_callers()), _TRIES):
            with suppress(AddressError):
                return _listen(held, service, address, candidate)
    return _listen(held, service, address, port)


def _first_of_callers() -> int:
    """The lowest port that the kernel gives to a connection that goes out."""
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    return max(first, _LOWEST + _TRIES)


def _listen(held: ExitStack, service: str, address: str, port: int) -> str:
    listener = held.enter_context(socket.socket())
    # A port whose last server has just closed its connections is free to listen on.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
        listener.listen()  # SO_REUSEADDR lets two sockets bind, but only one listen
    except OSError as error:
        problem, remedy = _WHY.get(
            error.errno or 0, (error.strerror or "?", "Choose another address or port.")
        )
        raise AddressError(service, f"{address}:{port}", problem, remedy) from error
    return f"{address}:{listener.getsockname()[1]}"
