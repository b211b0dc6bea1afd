"""TLS to a server: whom the client trusts, and who it is itself."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import grpc  # type: ignore[import-untyped]

from megatick_client.errors import BadRequest


@dataclass(frozen=True)
class Tls:
    """Files in PEM format; a client notices when one changes, and connects anew.

    Attributes:
        ca: certificates of the authorities that are trusted; None for those that gRPC
            brings.
        certificate: the client's own, with those between it and the server's authority,
            for mutual TLS; None for none.
        key: the certificate's private key, unencrypted; given if and only if that is.
        server_name: the name that the server's certificate must hold, where it is not the
            host of its address.

    Raises:
        BadRequest: one of certificate and key without the other.
    """

    ca: Path | str | None = None
    certificate: Path | str | None = None
    key: Path | str | None = None
    server_name: str | None = None

    def __post_init__(self) -> None:
        """Want both of a pair."""
        if (self.certificate is None) != (self.key is None):
            missing = "key" if self.key is None else "certificate"
            raise BadRequest(
                f"tls: expected certificate and key together, found no {missing}"
            )

    def credentials(self) -> grpc.ChannelCredentials:
        """Read the files.

        Raises:
            BadRequest: one cannot be read, or is not PEM.
        """
        return grpc.ssl_channel_credentials(
            root_certificates=_read("ca", self.ca, holds="CERTIFICATE"),
            private_key=_read("key", self.key, holds="PRIVATE KEY"),
            certificate_chain=_read("certificate", self.certificate, holds="CERTIFICATE"),
        )

    def stamp(self) -> tuple[int, ...]:
        """Tell the files' versions apart: when each was last written, in nanoseconds.

        A file that is missing for a moment, as while it is replaced, counts as unchanged
        only once it is back.
        """
        return tuple(
            _written_ns(file)
            for file in (self.ca, self.certificate, self.key)
            if file is not None
        )


def _written_ns(file: Path | str) -> int:
    try:
        return os.stat(file).st_mtime_ns
    except OSError:
        return -1


def _read(what: str, file: Path | str | None, *, holds: str) -> bytes | None:
    if file is None:
        return None
    try:
        content = Path(file).read_bytes()
    except OSError as error:
        raise BadRequest(
            f"tls: {what}: expected a PEM file, found {os.fspath(file)}: {error.strerror}"
        ) from error
    if f"{holds}-----".encode() not in content:
        raise BadRequest(
            f"tls: {what}: expected a PEM file with -----BEGIN {holds}-----, found none in "
            f"{os.fspath(file)}"
        )
    return content
