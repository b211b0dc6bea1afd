"""The one model that a brief's answers come from."""

from __future__ import annotations

from collections.abc import Iterable

from megatick_client.replies import ReplyInfo
from megatick_decisions.errors import AnotherModel


class OneModel:
    """Holds every answer to the model of the first one.

    A server may be given another model meanwhile, and behind one address two servers may
    have different ones.

    Attributes:
        digest: SHA-256 of all that it serves, in hex; empty until the first answer says.
    """

    def __init__(self) -> None:
        self.digest = ""

    def check(self, replies: Iterable[ReplyInfo]) -> None:
        """Hold answers to it.

        Args:
            replies: of calls with ``timings=True``, which tell the digest.

        Raises:
            AnotherModel: one is another model's.
        """
        for reply in replies:
            self.digest = self.digest or reply.model_digest
            if reply.model_digest != self.digest:
                raise AnotherModel(
                    reply.address, expected=self.digest, found=reply.model_digest
                )
