"""``megatick health``: can a server be called?  For health checks of containers."""

from __future__ import annotations

from typing import Annotated

import typer

from megatick_cli.connection import Connection, with_connection


@with_connection
def health(
    address: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="The server's gRPC port.")
    ] = "127.0.0.1:8001",
    timeout_s: Annotated[
        float,
        typer.Option("--timeout-s", metavar="SECONDS", help="How long it may take."),
    ] = 5.0,
    *,
    connection: Connection,
) -> None:
    """Ask a server whether it can be called: it answers, and has loaded every model.

    It asks over gRPC, as callers do, and needs no key.

    Exit status: 0 ready; 1 not (one message on stderr says why); 2 bad usage.
    """
    from megatick_client import Client, ModelNotReady

    with Client(
        address, timeout_s=timeout_s, tls=connection.tls, headers=connection.headers
    ) as client:
        if not client.health().ready:
            raise ModelNotReady(f"the server at {address} has not loaded every model")
    typer.echo(f"{address} is ready")
