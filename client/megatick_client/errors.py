"""What can go wrong with a call, told apart by what its caller can do about it.

MegatickError
└── ClientError                any failed call
    ├── BadRequest             a value is wrong: mend or drop it; a retry fails again
    │   └── LookAhead          it would know of something later than its own time
    ├── DeadlineExceeded       no answer within timeout_s: allow more, or send less
    ├── Overloaded             no room, or no time, in the server's queue: send again later
    ├── ServerUnavailable      nobody answers at that address: start it, or mend the address
    ├── ModelNotReady          the server answers but lacks the model, or still loads it
    ├── Unauthenticated        the server wants a key or certificate that was not given
    ├── ServerError            the server failed: its log has the cause
    └── ClientClosed           the client was used after close()
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from megatick_contract import MegatickError, Rejection

_LISTED: Final = 10  # a message names this many bad values; .rejections has them all


class ClientError(MegatickError):
    """Base of every error of the client.

    Attributes:
        address: ``HOST:PORT`` of the server; None when nothing was sent.
        model: the Triton model that was called, or None.
        status: name of the gRPC status, such as ``"UNAVAILABLE"``, or None.
        detail: the server's, or gRPC's, own words.
    """

    def __init__(
        self,
        message: str,
        *,
        address: str | None = None,
        model: str | None = None,
        status: str | None = None,
        detail: str = "",
    ) -> None:
        super().__init__(message)
        self.address = address
        self.model = model
        self.status = status
        self.detail = detail


class BadRequest(ClientError, ValueError):
    """A value of the request is wrong, and sending it again will fail again.

    Attributes:
        rejections: the bad values, by row of what the caller passed; empty when the
            request as a whole is wrong.
        unlisted: how many more there are; 0 unless the server's message had no room
            for them.
    """

    rejections: tuple[Rejection, ...] = ()
    unlisted: int = 0

    @classmethod
    def listing(
        cls,
        rejections: Sequence[Rejection],
        *,
        rows: int,
        unlisted: int = 0,
        address: str | None = None,
        model: str | None = None,
        status: str | None = None,
        detail: str = "",
    ) -> BadRequest:
        """Refuse a call of ``rows`` rows for these values."""
        listed = "; ".join(
            f"row {r.row}, {r.field}: {r.problem}" for r in rejections[:_LISTED]
        )
        more = len(rejections) + unlisted - min(len(rejections), _LISTED)
        bad = len({rejection.row for rejection in rejections})
        has = f"the first {len(rejections)}" if unlisted else "them all"
        error = cls(
            f"{address or 'nothing was sent'}: {'at least ' if unlisted else ''}{bad} of "
            f"{rows} rows refused: {listed}{f'; and {more} more' if more else ''}.  "
            f"Mend or drop these rows (.rejections has {has}) and send the rest.",
            address=address,
            model=model,
            status=status,
            detail=detail,
        )
        error.rejections = tuple(rejections)
        error.unlisted = unlisted
        return error

    @classmethod
    def joined(cls, refusals: Sequence[tuple[int, BadRequest]], *, rows: int) -> BadRequest:
        """Put the refusals of one call's requests together, in the rows of the call.

        Args:
            refusals: at least one, each with the row of the call that its request began at.
            rows: of the whole call.
        """
        first = refusals[0][1]
        return cls.listing(
            [
                Rejection(start + r.row, r.field, r.problem)
                for start, error in refusals
                for r in error.rejections
            ],
            rows=rows,
            unlisted=sum(error.unlisted for _, error in refusals),
            address=first.address,
            model=first.model,
            status=first.status,
            detail="\n".join(error.detail for _, error in refusals),
        )

    @property
    def rows(self) -> tuple[int, ...]:
        """The bad rows, rising, each once; from 0, in the order the caller passed."""
        return tuple(sorted({rejection.row for rejection in self.rejections}))


class LookAhead(BadRequest):
    """A feature would know of something later than the time that it is computed for.

    Attributes:
        symbol: whose.
        field: what is later: ``"close"`` or ``"text"``.
        known_utc: when that became known.
        as_of_utc: what it would have been computed for.
    """

    def __init__(
        self, symbol: str, field: str, known_utc: datetime, as_of_utc: datetime
    ) -> None:
        super().__init__(
            f"{symbol!r}: as of {as_of_utc.isoformat()}, expected nothing later in the "
            f"book, found a {field} of {known_utc.isoformat()}.  Feed the book in the "
            "order in which things became known."
        )
        self.symbol, self.field = symbol, field
        self.known_utc, self.as_of_utc = known_utc, as_of_utc


class DeadlineExceeded(ClientError, TimeoutError):
    """No answer came within ``timeout_s``; the server was told to drop the request."""


class Overloaded(ClientError):
    """The server refused the request at once: no room in its queue, or too long a wait."""


class ServerUnavailable(ClientError, ConnectionError):
    """No server answers at the address, or it is shutting down."""


class ModelNotReady(ClientError):
    """The server answers, but has no such model, or has not loaded it yet."""


class Unauthenticated(ClientError, PermissionError):
    """The server wants a credential that this client did not give."""


class ServerError(ClientError):
    """The server failed on a request that it should have answered."""


class ClientClosed(ClientError):
    """The client was used after ``close()``."""
