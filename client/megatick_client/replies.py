"""What is known about one reply beside its values: who gave it, which model, how long."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final


@dataclass(frozen=True)
class ReplyInfo:
    """Where a result comes from.

    Attributes:
        request_id: what the server's log and trace call the request.
        address: ``HOST:PORT`` of the server that answered; empty where nothing was sent.
        model: Triton's name of the model.
        model_version: the version that answered, as Triton names it.
        elapsed_s: seconds from the last sending to the answer, as the client saw it.
        attempts: how often the request was sent, >= 1 where it was; a hedge is one more.
        model_digest: SHA-256 of what is served, in hex; empty without ``timings=True``.
        stages_s: seconds that the server spent on it, by the contract's names of the
            stages; empty without ``timings=True``.  A stage that a server does not
            measure is left out.
    """

    request_id: str = ""
    address: str = ""
    model: str = ""
    model_version: str = ""
    elapsed_s: float = 0.0
    attempts: int = 0
    model_digest: str = ""
    stages_s: Mapping[str, float] = field(default_factory=dict, hash=False)


NOT_SENT: Final = ReplyInfo()
"""Of a result that somebody made without a server."""
