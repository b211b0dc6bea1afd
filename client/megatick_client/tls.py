"""TLS to a server: whom the client trusts, and who it is itself."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path

import grpc  # type: ignore[import-untyped]

from megatick_client.errors import BadRequest


@dataclass(frozen=True)
class Tls:
    """Files in PEM format; a client notices when one changes, and connects anew.

    Replace certificate and key in any order: until both fit, the former ones are used.

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
            BadRequest: one cannot be read, is not what it should be, or the key is not the
                certificate's.
        """
        ca = _read("ca", self.ca, holds="CERTIFICATE")
        key = _read("key", self.key, holds="PRIVATE KEY")
        certificate = _read("certificate", self.certificate, holds="CERTIFICATE")
        _check(self.ca, self.certificate, self.key)
        return grpc.ssl_channel_credentials(ca, key, certificate)

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


def _check(
    ca: Path | str | None, certificate: Path | str | None, key: Path | str | None
) -> None:
    """Ask OpenSSL what it makes of the files; gRPC would never connect, nor say why."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if ca is not None:
        try:
            context.load_verify_locations(ca)
        except OSError as error:
            raise BadRequest(
                f"tls: ca: expected certificates, found something else in {os.fspath(ca)}"
            ) from error
    if certificate is None or key is None:
        return
    try:
        # For a key with a password it would ask the terminal.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except OSError as error:
        another = getattr(error, "reason", None) == "KEY_VALUES_MISMATCH"
        found = "another's" if another else "something else, or one with a password,"
        raise BadRequest(
            f"tls: key: expected the private key of {os.fspath(certificate)}, found "
            f"{found} in {os.fspath(key)}"
        ) from error


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
