"""How far a score under load may be from its reference, and who says so."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from megatick_client.base import Headers
from megatick_client.client import Client
from megatick_client.errors import ServerError, Unauthenticated
from megatick_client.requests import Request
from megatick_client.retries import NO_RETRIES
from megatick_client.server_calls import ask_tolerance
from megatick_client.surface import Call
from megatick_client.tls import Tls

DEFAULT_TOLERANCE: Final = 1e-3
"""Where the server states none.  In float32 a score moves by less."""

Source = Literal["given", "stated by the server", "default: the server states none"]


@dataclass(frozen=True)
class Tolerance:
    """How far a score may be from its reference.

    Attributes:
        value: in the unit of a score, > 0.
        source: who says so.
    """

    value: float
    source: Source

    @classmethod
    def of(cls, stated: float | None) -> Tolerance:
        """What counts where a caller gave none: what the server states, if it does."""
        if stated is None:
            return cls(DEFAULT_TOLERANCE, "default: the server states none")
        return cls(stated, "stated by the server")

    def __str__(self) -> str:
        return f"{self.value:g} ({self.source})"


def tolerance_of(
    request: Request,
    endpoint: str,
    *,
    timeout_s: float,
    tls: Tls | None,
    headers: Headers | None,
) -> Tolerance:
    """Ask a server for its own.

    Args:
        request: a call that it will get; its first row is asked about.
        endpoint: ``HOST:PORT`` of a gRPC server that speaks KServe v2.
        timeout_s: seconds that each of two questions may take.
        tls: how the server is trusted; None talks in the clear.
        headers: sent with each, as a client's are.

    Raises:
        ClientError: nobody answers, or not in time, or refuses the row.
    """
    with Client(
        endpoint,
        timeout_s=2 * timeout_s,
        retries=NO_RETRIES,
        tls=tls,
        headers=headers,
    ) as client:
        try:
            stated = client.make(
                Call(lambda line, deadline: ask_tolerance(request, line, deadline), None)
            )
        except (ServerError, Unauthenticated):  # it tells no metadata, or not to us
            stated = None
    return Tolerance.of(stated)
