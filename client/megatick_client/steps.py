"""What a call asks of whoever moves its bytes: send this, race these, wait.

The rules of a call are generators that yield these steps and are sent their outcomes, so
that they are written once; ``Client`` carries them out by blocking, ``AsyncClient`` by
awaiting, and tests by hand.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Final, TypeAlias, TypeVar

from megatick_client.endpoints import Endpoint
from megatick_client.errors import BadRequest, ClientError

T = TypeVar("T")

LET_BE_S: Final = 5.0
"""Seconds for which a request that nobody waits for any longer is let be.

Triton 2.51 may die by signal 11 where a request is cancelled, or its gRPC deadline passes,
in the moment in which it is answered (docs/decisions/0018).  The request's own ``timeout``
tells the server what it need not begin any more; what it has begun is done within seconds.
"""


@dataclass(frozen=True)
class Send:
    """Send a message and wait for the answer; its outcome is an ``Outcome``.

    Attributes:
        endpoint: to which server.
        method: gRPC's path of the method.
        message: its bytes.
        timeout_s: seconds after which nobody waits for the answer.
        budget_s: the whole call's, for the message of an error.
        model: of which Triton model, or None.
        rows: of the request, for the message of an error.
        request_id: of the request; empty where the message is none.
    """

    endpoint: Endpoint
    method: str
    message: bytes
    timeout_s: float
    budget_s: float
    model: str | None = None
    rows: int = 0
    request_id: str = ""

    @property
    def rpc_timeout_s(self) -> float:
        """Seconds after which gRPC gives up, and tells the server so."""
        return self.timeout_s + (LET_BE_S if self.rows else 0.0)


@dataclass(frozen=True)
class Race:
    """Send the first; after ``after_s`` without an answer the second as well.

    Its outcome is the first that ``settles`` it, and the other call is let be; without
    one, that of the last to fail.

    Attributes:
        first: what is sent at once.
        second: makes what is sent besides, once it is.
        after_s: seconds between the two.
    """

    first: Send
    second: Callable[[], Send]
    after_s: float


@dataclass(frozen=True)
class Probe:
    """Ask a server that was ejected whether it is ready, and do not wait for its answer.

    ``endpoints.probed(endpoint, ready)`` is told it.  Its outcome is None.
    """

    send: Send


@dataclass(frozen=True)
class Sleep:
    """Let time pass.  Its outcome is None."""

    seconds: float


@dataclass(frozen=True)
class Wait:
    """Wait until something is done, but no longer than this.  Its outcome is None.

    Attributes:
        done: what another call, of any thread or event loop, will set.
        timeout_s: seconds after which to go on without it.
    """

    done: Future[None]
    timeout_s: float


@dataclass(frozen=True)
class Outcome:
    """What became of a ``Send``.

    Attributes:
        send: the call that this is the outcome of.
        answer: the reply's bytes; empty with an error.
        error: why there is none, or None.
    """

    send: Send
    answer: bytes
    error: ClientError | None

    @property
    def settles(self) -> bool:
        """Whether it ends a race: a good answer, or a refusal, as any server would give."""
        return self.error is None or isinstance(self.error, BadRequest)


Step: TypeAlias = Send | Race | Probe | Sleep | Wait
Exchange: TypeAlias = Generator[Step, Outcome | None, T]
"""The rules of a call that ends in a ``T``."""
