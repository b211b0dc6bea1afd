"""Certificates that a test makes for itself, signed by an authority of its own."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import trustme


@dataclass(frozen=True)
class Pair:
    """A certificate and its private key, in PEM files."""

    certificate: Path
    key: Path


class Authority:
    """An authority, whose certificate is the file ``ca``."""

    def __init__(self, folder: Path) -> None:
        self._authority = trustme.CA()
        self._folder = folder
        self.ca = folder / "ca.pem"
        folder.mkdir(exist_ok=True)
        self._authority.cert_pem.write_to_path(str(self.ca))

    def issue(self, *names: str, file: str = "server", expired: bool = False) -> Pair:
        """Sign a certificate for these hosts, over the files of that name if any.

        One that is expired was good until yesterday.
        """
        yesterday = datetime.now(UTC) - timedelta(days=1)
        signed = self._authority.issue_cert(
            *names,
            not_before=yesterday - timedelta(days=1) if expired else None,
            not_after=yesterday if expired else None,
        )
        pair = Pair(self._folder / f"{file}.pem", self._folder / f"{file}.key")
        signed.cert_chain_pems[0].write_to_path(str(pair.certificate))
        signed.private_key_pem.write_to_path(str(pair.key))
        return pair
