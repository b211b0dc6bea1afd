"""Is the server ready?  The question any KServe-v2 client may ask, and two knocks."""

from __future__ import annotations

import socket
from typing import Final

from megatick_server.launcher.endpoints import Endpoints

_READY: Final = "/inference.GRPCInferenceService/ServerReady"
_YES: Final = b"\x08\x01"
"""``ServerReadyResponse{ready: true}``: field 1, a varint, 1.  False is left out.

Source: KServe's grpc_predict_v2.proto.
"""
_TIMEOUT_S: Final = 2.0


def is_ready(endpoints: Endpoints, *, tls: bool = False) -> bool:
    """Ask the server once.

    Args:
        endpoints: where it listens.
        tls: gRPC wants TLS, perhaps with a certificate that is not ours to have.  Then it
            only has to accept a connection: Triton listens once its models are loaded.

    Returns:
        True if it answers that all its models are ready, and HTTP and metrics accept
        connections where they are open (Triton opens gRPC first, and them some 50 ms
        later).  False if not, or not within 2 s.
    """
    if not (_accepts(endpoints.grpc) if tls else _says_ready(endpoints.grpc)):
        return False
    return all(
        endpoint is None or _accepts(endpoint)
        for endpoint in (endpoints.http, endpoints.metrics)
    )


def _says_ready(endpoint: str) -> bool:
    import grpc  # type: ignore[import-untyped]  # 0.1 s that --help need not pay

    # A proxy in the environment is not for a server that we have just started.
    no_proxy = (("grpc.enable_http_proxy", 0),)
    with grpc.insecure_channel(_reachable(endpoint), options=no_proxy) as channel:
        try:
            answer: bytes = channel.unary_unary(_READY)(b"", timeout=_TIMEOUT_S)
        except grpc.RpcError:
            return False
    return answer == _YES


def _accepts(endpoint: str) -> bool:
    host, port = _reachable(endpoint).split(":")
    try:
        socket.create_connection((host, int(port)), _TIMEOUT_S).close()
    except OSError:
        return False
    return True


def _reachable(endpoint: str) -> str:
    """Where to call what listens there: 0.0.0.0 is every address, so loopback too."""
    host, port = endpoint.split(":")
    return f"127.0.0.1:{port}" if host == "0.0.0.0" else endpoint  # noqa: S104
