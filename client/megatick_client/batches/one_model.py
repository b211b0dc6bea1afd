"""The one model that a batch's answers come from."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from megatick_client.batches.errors import AnotherModel


class OneModel:
    """Holds every answer to the model of the first one.  Safe to share between threads.

    Attributes:
        digest: SHA-256 of it; empty until the first answer says.
    """

    def __init__(self, digest: str = "") -> None:
        self.digest = digest
        self._lock = threading.Lock()

    def check(self, digests: Iterable[str], *, address: str) -> None:
        """Hold answers to it.

        Raises:
            AnotherModel: one is another model's.
        """
        for digest in digests:
            with self._lock:
                self.digest = self.digest or digest
            if digest != self.digest:
                raise AnotherModel(address, expected=self.digest, found=digest)
