"""TLS of the server's gRPC: its certificate, and which callers' certificates it takes."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from megatick_server.errors import OptionsError

_CERTIFICATE = "TLS certificate"
_KEY = "TLS key"
_CLIENT_CA = "TLS client CA"


@dataclass(frozen=True)
class ServerTls:
    """Files in PEM format.  Triton reads them when it starts, and never again.

    Attributes:
        certificate: the server's own, with those between it and its authority.
        key: the certificate's private key, unencrypted.
        client_ca: authorities, one of which must have signed a caller's certificate; None
            asks callers for none.

    Raises:
        OptionsError: a file cannot be read, is no such thing, or is not the other's.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None

    @classmethod
    def of(
        cls, certificate: Path | None, key: Path | None, client_ca: Path | None
    ) -> ServerTls | None:
        """Put together what was asked for; None where nothing was.

        Raises:
            OptionsError: a part is missing, or as in the class.
        """
        if certificate is None and key is None and client_ca is None:
            return None
        if certificate is None or key is None:
            option = _CERTIFICATE if certificate is None else _KEY
            raise OptionsError(
                option, expected="a file, as TLS needs certificate and key", found=None
            )
        return cls(certificate, key, client_ca)

    def __post_init__(self) -> None:
        """Hold the files to what OpenSSL makes of them; Triton names none in its log."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        for option, file in (
            (_CERTIFICATE, self.certificate),
            (_CLIENT_CA, self.client_ca),
        ):
            if file is None:
                continue
            try:
                context.load_verify_locations(file)
            except ssl.SSLError:
                _refuse(option, "a PEM file with -----BEGIN CERTIFICATE-----", file)
            except OSError as error:
                _refuse(option, "a readable PEM file", file, error)
        try:
            # An encrypted key would make OpenSSL ask the terminal for its password.
            context.load_cert_chain(self.certificate, self.key, password=lambda: "")
        except ssl.SSLError as error:
            if error.reason == "KEY_VALUES_MISMATCH":
                _refuse(_KEY, f"the private key of {self.certificate}", self.key)
            _refuse(_KEY, "a PEM file with an unencrypted private key", self.key)
        except OSError as error:
            _refuse(_KEY, "a readable PEM file", self.key, error)


def _refuse(
    option: str, expected: str, file: Path, error: OSError | None = None
) -> NoReturn:
    why = f"{file}: {error.strerror}" if error is not None else f"{file}: something else"
    raise OptionsError(option, expected=expected, found=why) from error
