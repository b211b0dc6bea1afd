"""What the two clients have in common: their settings, and what becomes of an error."""

from __future__ import annotations

import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final, Self, TypeAlias

from megatick_client.attempts import Line
from megatick_client.channels import Channels
from megatick_client.deadlines import Deadline
from megatick_client.endpoints import Balance, Endpoints
from megatick_client.errors import BadRequest, ClientClosed, ClientError
from megatick_client.hedging import Hedging, Latencies
from megatick_client.retries import Retries
from megatick_client.statuses import translate
from megatick_client.steps import Outcome, Send
from megatick_client.surface import Call
from megatick_client.tls import Tls

Headers: TypeAlias = Mapping[str, str] | Callable[[], Mapping[str, str]]
"""Names and values of gRPC's metadata, or what is called before every sending for them."""

Metadata: TypeAlias = tuple[tuple[str, str], ...]
"""The same as gRPC takes them."""

DEFAULT_ADDRESS: Final = "127.0.0.1:8001"  # 8001 is Triton's gRPC port
DEFAULT_TIMEOUT_S: Final = 5.0

_HEADER_NAME: Final = re.compile(r"[0-9a-z_.-]+(?<!-bin)")  # of PROTOCOL-HTTP2.md, for text
_HEADER_VALUE: Final = re.compile(r"[ -~]+")


class BaseClient(ABC):
    """Connections to one Megatick server, or to several that serve the same.

    Every call raises a ``ClientError``: ``BadRequest`` for its arguments, the others for
    the server's state; ``megatick_client.errors`` draws the tree.
    """

    def __init__(
        self,
        addresses: str | Sequence[str] = DEFAULT_ADDRESS,
        *,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        balance: Balance = "round_robin",
        retries: Retries = Retries(),  # noqa: B008  frozen
        hedging: Hedging | None = None,
        headers: Headers | None = None,
        tls: Tls | None = None,
    ) -> None:
        """Check the settings; the first call connects.

        Args:
            addresses: ``HOST:PORT`` of the server's gRPC port, or several of them.  A name
                is one server, however many addresses it resolves to: the first that
                answers is kept while its connection lasts.
            timeout_s: seconds that a call may take in all, its repeats included, unless the
                call itself says; a finite number > 0.
            balance: whose turn it is among several: "round_robin", or "least_outstanding"
                for who has the fewest calls in flight.
            retries: how a call is repeated; ``NO_RETRIES`` for not at all.
            hedging: after how long a call is sent a second time; None for never.
            headers: sent with every call: Triton's key of a restricted protocol, a proxy's
                bearer token (Triton itself checks none); or a function that returns them,
                called before every sending, and when a stream is opened.  No message, log
                or repr of the client shows a value.
            tls: how the servers are trusted; None talks in the clear.

        Raises:
            BadRequest: an argument is no such thing.
        """
        self._timeout_s = Deadline.after(timeout_s).timeout_s
        _check("retries", retries, Retries)
        _check("hedging", hedging, Hedging, or_none=True)
        _check("tls", tls, Tls, or_none=True)
        try:
            listed = (addresses,) if isinstance(addresses, str) else tuple(addresses)
        except TypeError as error:
            raise BadRequest(
                f"address: expected HOST:PORT, or several, found {addresses!r:.40}"
            ) from error
        endpoints = Endpoints(listed, balance)
        self._settings: dict[str, Any] = {
            "addresses": listed,
            "timeout_s": timeout_s,
            "balance": balance,
            "retries": retries,
            "hedging": hedging,
            "headers": headers,
            "tls": tls,
        }
        self._metadata = metadata_of(headers)
        self._closed = False
        self._begin_here(endpoints)

    def _begin_here(self, endpoints: Endpoints) -> None:
        """Begin without any call in flight, in this process."""
        hedging: Hedging | None = self._settings["hedging"]
        latencies = Latencies(hedging) if hedging else None
        self._line = Line(endpoints, self._settings["retries"], latencies)
        self._channels = self._make_channels(self._settings["tls"])
        self._process = os.getpid()

    @abstractmethod
    def _make_channels(self, tls: Tls | None) -> Channels:
        """Make what opens connections of the client's kind."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """``HOST:PORT`` of each server."""
        return tuple(self._line.endpoints.addresses)

    def __repr__(self) -> str:
        addresses = ", ".join(map(repr, self.addresses))
        return f"{type(self).__name__}({addresses}, timeout_s={self._timeout_s:g})"

    def __reduce__(self) -> tuple[Callable[[], Self], tuple[()]]:
        """A copy, in this process or another, is a client with the same settings."""
        return partial(type(self), **self._settings), ()

    def _begin(self, call: Call[Any]) -> Deadline:
        """Start the clock of a call."""
        self._refuse_if_closed()
        if self._process != os.getpid():
            # A child that was forked off has none of its parent's calls, and cannot know
            # whether a lock was held at that moment.
            settings = self._settings
            self._begin_here(Endpoints(settings["addresses"], settings["balance"]))
        seconds = self._timeout_s if call.timeout_s is None else call.timeout_s
        return Deadline.after(seconds)

    def _failed(self, send: Send, error: Any) -> Outcome:
        """What a ``grpc.RpcError`` means."""
        meaning = _meaning(send, error.code().name, error.details() or "")
        meaning.__cause__ = error
        return Outcome(send, b"", meaning)

    def _late(self, send: Send) -> Outcome:
        """What a call means that was not answered in time."""
        return Outcome(send, b"", _meaning(send, "DEADLINE_EXCEEDED", "Deadline Exceeded"))

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise self._use_after_close()

    def _use_after_close(self) -> ClientClosed:
        addresses = ", ".join(self.addresses)
        return ClientClosed(
            f"{addresses}: this client is closed.  Make a new one, or call it inside its "
            "'with' block.",
            address=addresses,
        )


def _meaning(send: Send, status: str, detail: str) -> ClientError:
    return translate(
        status,
        detail,
        address=send.endpoint.address,
        model=send.model,
        rows=send.rows,
        timeout_s=send.budget_s,
    )


def _check(name: str, found: object, kind: type, *, or_none: bool = False) -> None:
    if not (isinstance(found, kind) or (or_none and found is None)):
        expected = f"{kind.__name__} or None" if or_none else kind.__name__
        raise BadRequest(f"{name}: expected {expected}, found {type(found).__name__}")


def metadata_of(headers: Headers | None) -> Callable[[], Metadata]:
    """Turn headers into gRPC's metadata, checked once where they do not change.

    Raises:
        BadRequest: a name or a value that gRPC would not send.
    """
    if callable(headers):
        return lambda: _checked(headers())
    checked = _checked(headers or {})
    return lambda: checked


def _checked(headers: Mapping[str, str]) -> Metadata:
    if not isinstance(headers, Mapping):
        raise BadRequest(f"headers: expected a mapping, found {type(headers).__name__}")
    for name, value in headers.items():
        if not (isinstance(name, str) and _HEADER_NAME.fullmatch(name)):
            raise BadRequest(
                "headers: expected names of a-z, 0-9, '_', '.' and '-' in lower case, not "
                f"ending in -bin, found {name!r:.40}"
            )
        if not (isinstance(value, str) and _HEADER_VALUE.fullmatch(value)):
            raise BadRequest(  # the value may be a secret
                f"headers: {name}: expected printable ASCII, found something else"
            )
    return tuple(headers.items())
