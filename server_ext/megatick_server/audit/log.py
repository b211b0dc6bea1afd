"""What a step is given to record its replies with."""

from __future__ import annotations

import hashlib
import platform
import socket
from collections.abc import Callable, Mapping
from importlib import metadata
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from megatick_contract.prices import (
    BASELINE_QUANTILES,
    ELAPSED_S,
    NEXT_SENTIMENT_STATE,
    P_UP,
    PRICES,
    QUANTILES,
    SENTIMENT_STATE,
)
from megatick_contract.text import (
    EMBEDDING,
    PROBABILITIES,
    SCORE,
    TEXT,
    TOKENS,
    TRUNCATED,
    TRUNCATION_PARAMETER,
    TRUNCATIONS,
)
from megatick_server.audit.chain import Chain
from megatick_server.audit.record import AuditKey
from megatick_server.audit.settings import AuditSettings
from megatick_server.audit.writer import AuditWriter
from megatick_server.errors import OutputUnavailable, RequestDropped, RequestRefused
from megatick_server.meters import Meters

Arrays = Mapping[str, npt.NDArray[Any]]

# By name, since what goes between the steps of a TensorRT chain holds the text's tokens.
INPUTS: Final = (TEXT.name, PRICES.name, SENTIMENT_STATE.name, ELAPSED_S.name)
OUTPUTS: Final = (
    PROBABILITIES.name,
    SCORE.name,
    TOKENS.name,
    TRUNCATED.name,
    NEXT_SENTIMENT_STATE.name,
    QUANTILES.name,
    P_UP.name,
    BASELINE_QUANTILES.name,
)


class AuditLog:
    """Records one step's replies."""

    def __init__(self, writer: AuditWriter, key: AuditKey, *, model_digest: str) -> None:
        self._writer = writer
        self._key = key
        self._digest = model_digest

    @classmethod
    def of_environment(cls, meters: Meters, *, model_digest: str) -> AuditLog | None:
        """Begin a chain, if the launcher was asked for one.

        Args:
            meters: the step's; its chain is named for their model, and counted in them.
            model_digest: SHA-256 of what is served, in hex; empty where a step has none.

        Raises:
            AuditError: it cannot be begun: the step must not start.
        """
        settings = AuditSettings.of_environment()
        if settings is None:
            return None
        key = AuditKey.read(settings.key_file)
        about = {
            "model_digest": model_digest,
            "megatick": metadata.version("megatick"),
            "python": platform.python_version(),
            "host": socket.gethostname(),
            "on_failure": settings.on_failure,
        }
        chain = Chain(settings.folder, key, model=meters.model, about=about)
        writer = AuditWriter(
            chain, on_failure=settings.on_failure, sync_s=settings.sync_s, meters=meters
        )
        return cls(writer, key, model_digest=model_digest)

    def close(self) -> None:
        """Write what waits, and end the chain."""
        self._writer.close()

    def record(
        self,
        request_id: str,
        inputs: Arrays,
        parameters: Mapping[str, Any],
        answer: Arrays | Exception,
        done: Callable[[Exception | None], None],
    ) -> None:
        """Have a reply recorded.

        Args:
            request_id: the caller's; empty if there is none.
            inputs: the request's; of each row an HMAC is kept.
            parameters: the request's; of them ``truncation`` is kept.
            answer: the outputs that it gets, or why it gets none.
            done: told when the reply may be given, or why not.
        """
        # Copies: Triton's memory of a request is gone once it is answered.
        kept = {name: inputs[name].copy() for name in INPUTS if name in inputs}
        if not isinstance(answer, Exception):
            answer = {name: values.copy() for name, values in answer.items()}

        def make() -> dict[str, Any]:
            told = (
                {"refused": _cause(answer)}
                if isinstance(answer, Exception)
                else {"outputs": _outputs(answer)}
            )
            return {
                "kind": "reply",
                "model_digest": self._digest,
                "request_id": request_id,
                "inputs": {
                    name: [self._key.of_input(name, row) for row in rows]
                    for name, rows in kept.items()
                },
                "truncation": _truncation(parameters),
                **told,
            }

        self._writer.record(make, done)


def _outputs(answer: Arrays) -> dict[str, Any]:
    """The values of a reply; of an embedding, whose text could be guessed, its hash."""
    found = {name: answer[name].tolist() for name in OUTPUTS if name in answer}
    if EMBEDDING.name in answer:
        rows = np.ascontiguousarray(answer[EMBEDDING.name], "<f4")
        found["EMBEDDING_SHA256"] = [hashlib.sha256(r.tobytes()).hexdigest() for r in rows]
    return found


def _cause(error: Exception) -> str:
    """Why a request was refused, without the words: they may quote what it holds."""
    if isinstance(error, RequestDropped):
        return error.cause
    return "invalid" if isinstance(error, RequestRefused | OutputUnavailable) else "failed"


def _truncation(parameters: Mapping[str, Any]) -> str:
    """How a long text was cut; a value that is none is the caller's own words."""
    found = parameters.get(TRUNCATION_PARAMETER, TRUNCATIONS[0])
    return found if found in TRUNCATIONS else ""
