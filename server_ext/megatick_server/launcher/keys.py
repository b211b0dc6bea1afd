"""Keys that callers must send: one for what a server is for, one for running it.

Triton compares a header of the request with a value that it was started with, and checks
no other credential.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from megatick_server.errors import OptionsError

CALLER_KEY: Final = "megatick-caller-key"
ADMIN_KEY: Final = "megatick-admin-key"
"""What the keys are called on the wire: over gRPC with ``GRPC_PREFIX`` in front."""

GRPC_PREFIX: Final = "triton-grpc-protocol-"
"""Source: triton-inference-server/server, release 24.10,
``docs/customization_guide/inference_protocols.md``, "Limit Endpoint Access"."""

SHORTEST: Final = 16
_TOKEN: Final = re.compile(r"[A-Za-z0-9._~+/-]+=*")  # RFC 6750's b64token


@dataclass(frozen=True)
class AccessKey:
    """A secret; no repr and no message shows it.

    Attributes:
        value: at least 16 characters of those that a bearer token may have.
    """

    value: str = field(repr=False)

    @classmethod
    def read(cls, file: Path, *, option: str) -> AccessKey:
        """Read a file that holds the secret and nothing else, on one line.

        Args:
            file: such as ``openssl rand -hex 32`` writes.
            option: what an error calls it.

        Raises:
            OptionsError: it cannot be read, or holds no such secret.
        """
        try:
            value = file.read_text("ascii").rstrip("\n")
        except OSError as error:
            raise OptionsError(
                option, expected="a file with a key", found=f"{file}: {error.strerror}"
            ) from error
        except UnicodeDecodeError:
            value = ""  # the error itself would show what the file holds
        if len(value) < SHORTEST or not _TOKEN.fullmatch(value):
            raise OptionsError(
                option,
                expected=f"one line of at least {SHORTEST} letters, digits and ._~+/-= "
                "(`openssl rand -hex 32` makes one)",
                found=f"{file}: something else",
            )
        return cls(value)
