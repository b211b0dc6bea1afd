"""One line of an audit file, and what holds it to the line before it.

A record is canonical JSON (keys sorted, no white space, ASCII).  Its ``hash`` is SHA-256 of
itself without ``hash`` and ``seal``, and among its values is the hash of the record before
it: whoever changes one must change all that follow.  The ``seal`` is an HMAC of the hash,
so that whoever lacks the key cannot do that either.

Source:
    Haber and Stornetta, "How to Time-Stamp a Digital Document", Journal of Cryptology 3,
    1991, section 5.1 (linking); RFC 2104 and FIPS 198-1 (HMAC).
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from megatick_server.errors import AuditError

GENESIS_HASH: Final = "0" * 64
"""What stands for the hash before a chain's first record."""

SHORTEST_KEY: Final = 32
"""Characters.  Source: RFC 2104, section 3: no shorter than the hash, which is 32 bytes."""

Record = dict[str, Any]

_HEX: Final = re.compile("[0-9a-f]{64}")
"""SHA-256, and an HMAC by it."""


@dataclass(frozen=True)
class AuditKey:
    """A secret; no repr and no message shows it.

    Attributes:
        value: what the key's file holds, on one line.
    """

    value: bytes = field(repr=False)

    @classmethod
    def read(cls, file: Path) -> AuditKey:
        """Read a file that holds the secret and nothing else, on one line.

        Raises:
            AuditError: it cannot be read, or holds no such secret.
        """
        try:
            value = file.read_bytes().rstrip(b"\n")
        except OSError as error:
            raise AuditError(
                file, f"the audit key cannot be read: {error.strerror}"
            ) from error
        if len(value) < SHORTEST_KEY or b"\n" in value:
            raise AuditError(
                file,
                f"expected an audit key, one line of at least {SHORTEST_KEY} characters "
                "(`openssl rand -hex 32` makes one), found something else",
            )
        return cls(value)

    def of_input(self, tensor: str, row: npt.NDArray[Any]) -> str:
        """The HMAC-SHA256, in hex, of one row of an input.

        Args:
            tensor: the input's name, so that equal bytes of two inputs differ.
            row: a text, object [1], by its bytes; or numbers, float32, by theirs in
                little-endian order, with one NaN for all.
        """
        if row.dtype == object:
            value = row[0] if isinstance(row[0], bytes) else str(row[0]).encode()
        else:
            numbers = row.astype("<f4")
            numbers[np.isnan(numbers)] = np.nan
            value = numbers.tobytes()
        return self._hmac(b"input", tensor.encode(), value)

    def seal(self, digest: str) -> str:
        """The HMAC-SHA256, in hex, of a record's hash."""
        return self._hmac(b"record", digest.encode())

    def _hmac(self, *parts: bytes) -> str:
        return hmac.new(self.value, b"\0".join(parts), hashlib.sha256).hexdigest()


def canonical(record: Mapping[str, Any]) -> bytes:
    """Write a record in the one way that has a hash."""
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def hash_of(record: Mapping[str, Any]) -> str:
    """SHA-256, in hex, of a record without its own hash and seal."""
    bare = {k: value for k, value in record.items() if k not in ("hash", "seal")}
    return hashlib.sha256(canonical(bare)).hexdigest()


def parse(line: bytes) -> Record | None:
    """Read a line, without its end; None where it is no record as we write them.

    Whoever can write to the folder may have written anything into it.
    """
    try:
        found = json.loads(line)
        whole = isinstance(found, dict) and canonical(found) == line
    except (ValueError, RecursionError):  # the latter of a thousand brackets
        return None
    return dict(found) if whole and _is_ours(found) else None


def _is_ours(record: Mapping[str, Any]) -> bool:
    """Tell whether it has what every record has, and of that kind."""
    numbers = ["seq", *(["count"] if record.get("kind") == "lost" else [])]
    return (
        isinstance(record.get("kind"), str)
        and all(type(record.get(k)) is int and record[k] >= 0 for k in numbers)
        and all(
            isinstance(record.get(k), str) and _HEX.fullmatch(record[k])
            for k in ("previous", "hash", "seal")
        )
    )
