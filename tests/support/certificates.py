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

    def issue(
        self,
        *names: str,
        file: str = "server",
        expired: bool = False,
        early: bool = False,
    ) -> Pair:
        """Sign a certificate for these hosts, over the files of that name if any.

        One that is expired was good until yesterday; one that is early will be tomorrow.
        """
        now, day = datetime.now(UTC), timedelta(days=1)
        begin = now + day if early else now - 3 * day
        end = now - day if expired else now + 3 * day
        signed = self._authority.issue_cert(*names, not_before=begin, not_after=end)
        pair = Pair(self._folder / f"{file}.pem", self._folder / f"{file}.key")
        signed.cert_chain_pems[0].write_to_path(str(pair.certificate))
        signed.private_key_pem.write_to_path(str(pair.key))
        return pair
