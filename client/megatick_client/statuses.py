"""From a gRPC status to an error: one table by status, three by message.

Triton answers UNAVAILABLE for several unlike things, gRPC itself for every handshake that
failed, and RESOURCE_EXHAUSTED for what is too large, which is no queue.  So there, and only
there, the message decides.  The messages are those of Triton 2.51 and gRPC's core; a test
provokes each of them.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from megatick_client.errors import (
    BadRequest,
    ClientError,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    ServerError,
    ServerUnavailable,
    Unauthenticated,
)
from megatick_contract import rejections
from megatick_contract.admission import QUEUE_FULL, TIMEOUT_EXPIRED


@dataclass(frozen=True)
class Meaning:
    """What a status means: the class to raise, what happened, and what to do."""

    error: type[ClientError]
    happened: str
    advice: str


_BAD_REQUEST: Final = Meaning(
    BadRequest, "the server refused the request", "Mend the named value and send again."
)
_TOO_LATE: Final = Meaning(
    DeadlineExceeded,
    "no answer in time",
    "Allow more with timeout_s, or send fewer rows.",
)
_FULL: Final = Meaning(
    Overloaded, "the server is overloaded", "Wait a moment and send again."
)
_NOBODY: Final = Meaning(
    ServerUnavailable,
    "no server answers",
    "Start one with 'megatick serve', or pass the address of its gRPC port.",
)
_STOPPING: Final = Meaning(
    ServerUnavailable,
    "the server is shutting down",
    "Send again once it, or another, is up.",
)
_NO_MODEL: Final = Meaning(
    ModelNotReady,
    "the model is not ready",
    "Wait until is_ready(), or serve a repository that holds it; models() lists them.",
)
_NO_ENTRY: Final = Meaning(
    Unauthenticated,
    "the server lets in only callers with a credential",
    "Pass it in headers= (a command's --caller-key-file or --header-file): who runs the "
    "server has it.",
)
_FAILED: Final = Meaning(
    ServerError, "the server failed", "Its log tells why; the request may be sent again."
)
_LONG_REFUSAL: Final = Meaning(
    ServerError,
    "the server refused, in more words than gRPC carries",
    "Send fewer rows at a time to learn which it refuses.",
)
_LARGE_REQUEST: Final = Meaning(
    BadRequest,
    "the request is larger than the server takes",
    "Send fewer or shorter rows at a time.",
)
_NOT_TRITON: Final = Meaning(
    ServerError,
    "the server there does not know this call",
    "Check that the address is the gRPC port of a Megatick server.",
)

_UNTRUSTED: Final = Meaning(
    ServerUnavailable,
    "no authority that this client trusts signed the server's certificate",
    "Pass the certificate of the authority that did as Tls(ca=…).",
)
_EXPIRED: Final = Meaning(
    ServerUnavailable,
    "the server's certificate has expired",
    "Renew it and restart the server; if it has not, this machine's clock is wrong.",
)
_NOT_YET: Final = Meaning(
    ServerUnavailable,
    "the server's certificate is not valid yet",
    "Compare its dates with this machine's clock.",
)
_OTHER_NAME: Final = Meaning(
    ServerUnavailable,
    "the server's certificate is for another name",
    "Call it by a name that its certificate holds, or pass one as Tls(server_name=…).",
)
_NO_TLS: Final = Meaning(
    ServerUnavailable,
    "the server speaks no TLS",
    "Start it with a certificate, or leave tls= out to talk in the clear.",
)
_HUNG_UP: Final = Meaning(
    ServerUnavailable,
    "the server closed the connection before the call",
    "If it speaks TLS, pass tls=Tls(ca=…) (a command's --tls-ca); if it wants its callers' "
    "certificate, pass certificate= and key= (--tls-certificate, --tls-key) as well, "
    "signed by an authority of its choice and not expired.",
)

BY_STATUS: Final = MappingProxyType(
    {
        "OK": _FAILED,  # an error with this status contradicts itself
        "CANCELLED": _STOPPING,  # we cancel nothing that is still waited for
        "UNKNOWN": _FAILED,
        "INVALID_ARGUMENT": _BAD_REQUEST,
        "DEADLINE_EXCEEDED": _TOO_LATE,
        "NOT_FOUND": _NO_MODEL,
        "ALREADY_EXISTS": _FAILED,
        "PERMISSION_DENIED": _NO_ENTRY,
        "RESOURCE_EXHAUSTED": _FULL,  # a proxy's, unless the message is gRPC's, below
        "FAILED_PRECONDITION": _FAILED,
        "ABORTED": _FAILED,
        "OUT_OF_RANGE": _BAD_REQUEST,
        "UNIMPLEMENTED": _NOT_TRITON,
        "INTERNAL": _FAILED,
        "UNAVAILABLE": _NOBODY,  # unless the message is one of Triton's, below
        "DATA_LOSS": _FAILED,
        "UNAUTHENTICATED": _NO_ENTRY,
    }
)
"""The meaning of every ``grpc.StatusCode``, by name."""

TRITON_UNAVAILABLE: Final = MappingProxyType(
    {
        QUEUE_FULL: _FULL,
        TIMEOUT_EXPIRED: _TOO_LATE,
        "This protocol is restricted": _NO_ENTRY,
        "is not at ready state": _NO_MODEL,
        "has stopped accepting new inference requests": _STOPPING,
        "Server exiting": _STOPPING,
    }
)
"""What Triton's own UNAVAILABLE messages mean, by a part that each always holds (an
ensemble puts its name in front, a model name may follow)."""

NOT_CONNECTED: Final = "failed to connect to all addresses"
"""How gRPC begins when it had no connection.  Source: ``pick_first.cc`` of its core."""

GRPC_HANDSHAKE: Final = MappingProxyType(
    {
        "CERTIFICATE_VERIFY_FAILED: certificate has expired": _EXPIRED,
        "CERTIFICATE_VERIFY_FAILED: certificate is not yet valid": _NOT_YET,
        "CERTIFICATE_VERIFY_FAILED": _UNTRUSTED,
        "Hostname Verification Check failed": _OTHER_NAME,
        "WRONG_VERSION_NUMBER": _NO_TLS,
        "Socket closed": _HUNG_UP,
    }
)
"""What it goes on with where a handshake failed, by a part of each; the first one counts.

A call that had a connection and lost it ends with "Socket closed", too, and no more.  In
TLS 1.3 a client hears of a refused certificate only by the end of the connection.
"""

UNKNOWN_MODEL: Final = "Request for unknown model"
"""A part of Triton's message for a model that it does not have."""

GRPC_EXHAUSTED: Final = MappingProxyType(
    {
        "metadata size exceeds": _LONG_REFUSAL,
        "message larger than max": _LARGE_REQUEST,
    }
)
"""What gRPC's own RESOURCE_EXHAUSTED messages mean, by a part of each.

Source: gRPC core, ``hpack_parser.cc`` and ``message_size_filter.cc``.
"""

_NONE: Final[MappingProxyType[str, Meaning]] = MappingProxyType({})
_BY_MESSAGE: Final = MappingProxyType(
    {"UNAVAILABLE": TRITON_UNAVAILABLE, "RESOURCE_EXHAUSTED": GRPC_EXHAUSTED}
)


def meaning_of(status: str, detail: str) -> Meaning:
    """Look a failed call up in the tables.

    Args:
        status: name of the gRPC status, such as ``"UNAVAILABLE"``.
        detail: the message that came with it.
    """
    not_connected = status == "UNAVAILABLE" and detail.startswith(NOT_CONNECTED)
    table = GRPC_HANDSHAKE if not_connected else _BY_MESSAGE.get(status, _NONE)
    for part, meaning in table.items():
        if part in detail:
            return meaning
    return BY_STATUS[status]


def status_of_message(detail: str) -> str:
    """Name the status that a message of Triton's would have come with.

    A stream tells what failed by its message alone.  Triton can send the status as well
    (the header ``triton_grpc_error``), but then ends the stream, and all else on it.
    """
    if rejections.parse(detail):
        return "INVALID_ARGUMENT"
    if any(part in detail for part in TRITON_UNAVAILABLE):
        return "UNAVAILABLE"
    return "NOT_FOUND" if UNKNOWN_MODEL in detail else "UNKNOWN"


def translate(
    status: str,
    detail: str,
    *,
    address: str,
    model: str | None,
    rows: int,
    timeout_s: float,
) -> ClientError:
    """Make the error of a failed call of ``rows`` rows, ready to raise."""
    meaning = meaning_of(status, detail)
    refused = rejections.parse(detail) if meaning.error is BadRequest else ()
    if refused and refused[-1].row < rows:  # else it speaks of another request
        return BadRequest.listing(
            refused,
            rows=rows,
            unlisted=rejections.unlisted(detail),
            address=address,
            model=model,
            status=status,
            detail=detail,
        )
    called = f" to {model!r}" if model else ""
    limit = f" of {timeout_s:g} s" if meaning.error is DeadlineExceeded else ""
    return meaning.error(
        f"{address}: {meaning.happened}{limit} (call{called}, {status}: {detail}).  "
        f"{meaning.advice}",
        address=address,
        model=model,
        status=status,
        detail=detail,
    )
