"""gRPC channels: made at the first use, kept, and made anew when they must be.

An asyncio channel belongs to one event loop, so each loop has its own.  A changed
certificate leaves the old ones alone and makes others.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

import grpc  # type: ignore[import-untyped]

from megatick_client.errors import BadRequest
from megatick_client.tls import Tls

_LOG: Final = logging.getLogger(__name__)

CHANNEL: Final = (
    # gRPC's own limit on a reply is 4 MB.  The server's answers are not to be guarded
    # against; its limit on what we send is its own affair.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A refusal lists its bad rows in a header, where gRPC's own limit is 8 KiB; a server
    # of another release may write more than that.
    ("grpc.max_metadata_size", 1 << 20),
    # gRPC waits up to two minutes before it tries a lost server again, and twenty seconds
    # for a connection that nobody refuses or accepts.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # A connection whose other end is gone without a word: with keep-alive, Linux drops it
    # when nothing sent was acknowledged for the timeout (TCP_USER_TIMEOUT, gRFC A18).
    # Triton takes a ping every five minutes from a connection without calls as abuse, so
    # there are none without calls.
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # One whose packets are still taken, by a proxy or a process that stands still, and
    # never answered, is found by gRPC's pings: beside data, and when nothing came for the
    # keep-alive's time.  It would wait a minute for the answer.
    ("grpc.http2.ping_timeout_ms", 10_000),
    # gRPC's own retries would count in nobody's budget.
    ("grpc.enable_retries", 0),
)

STAMP_EVERY_S: Final = 1.0
"""How often the certificates' files are looked at."""

Opened = Any
"""A ``grpc.Channel`` or a ``grpc.aio.Channel``; grpcio has no types."""


@dataclass(eq=False)
class _Open:
    """What is open in one place.

    Attributes:
        stamp: of the certificates that it was opened with.
        channels: by address.
        methods: gRPC's callables, by address and path.
    """

    stamp: tuple[int, ...]
    channels: dict[str, Opened] = field(default_factory=dict)
    methods: Mapping[tuple[str, str], Any] = field(default_factory=dict)


class Channels:
    """The channels of one client, by address.  Safe to share between threads.

    Args:
        tls: how the servers are trusted; None talks in the clear.
        plain: opens a channel in the clear, such as ``grpc.insecure_channel``.
        secure: opens one with TLS, such as ``grpc.secure_channel``.
        place: what a channel cannot leave: the event loop.
    """

    def __init__(
        self,
        tls: Tls | None,
        *,
        plain: Callable[..., Opened],
        secure: Callable[..., Opened],
        place: Callable[[], object] = lambda: None,
    ) -> None:
        self._tls = tls
        self._plain = plain
        self._secure = secure
        self._place = place
        self._lock = threading.Lock()
        self._open: dict[object, _Open] = {}
        self._stamp: tuple[int, ...] = ()
        self._refused: tuple[int, ...] = ()
        self._stamped_s = 0.0
        self._credentials: grpc.ChannelCredentials | None = None
        if tls is not None:
            # In this order: what is written in between is read again.
            self._stamp, self._stamped_s = tls.stamp(), time.monotonic()
            self._credentials = tls.credentials()

    @classmethod
    def blocking(cls, tls: Tls | None) -> Self:
        """Channels for threads."""
        return cls(tls, plain=grpc.insecure_channel, secure=grpc.secure_channel)

    @classmethod
    def awaiting(cls, tls: Tls | None) -> Self:
        """Channels for tasks of the event loop that runs."""
        return cls(
            tls,
            plain=grpc.aio.insecure_channel,
            secure=grpc.aio.secure_channel,
            place=asyncio.get_running_loop,
        )

    def method(self, address: str, path: str) -> Any:
        """Return gRPC's callable of a method that takes bytes and returns bytes."""
        here = self._here()
        found = here.methods.get((address, path))
        return found if found is not None else self._make(here, address, path)

    def stream(self, address: str, path: str) -> Any:
        """Return gRPC's callable of a method that takes and returns streams of bytes."""
        here = self._here()
        with self._lock:
            return self._channel(here, address).stream_stream(path)

    def drain(self) -> list[tuple[Any, Opened]]:
        """Forget the channels; return each, after its place, to whoever closes them."""
        with self._lock:
            everywhere, self._open = self._open, {}
        return [
            (place, channel)
            for place, here in everywhere.items()
            for channel in here.channels.values()
        ]

    def _current_stamp(self) -> tuple[int, ...]:
        if self._tls is not None:
            now = time.monotonic()
            if now - self._stamped_s >= STAMP_EVERY_S:
                self._stamped_s = now
                stamp = self._tls.stamp()
                if stamp not in (self._stamp, self._refused) and -1 not in stamp:
                    self._read_anew(self._tls, stamp)
        return self._stamp

    def _read_anew(self, tls: Tls, stamp: tuple[int, ...]) -> None:
        try:
            self._credentials = tls.credentials()
            self._stamp = stamp
        except BadRequest as error:
            # Half of a pair may be written; the next change is read again.
            self._refused = stamp
            _LOG.warning("%s.  Its former content is used until that is mended.", error)

    def _here(self) -> _Open:
        """What is open in this place.  Calls in flight keep the channels that they have."""
        place, stamp = self._place(), self._current_stamp()
        here = self._open.get(place)
        return (
            here if here is not None and here.stamp == stamp else self._move(place, stamp)
        )

    def _move(self, place: object, stamp: tuple[int, ...]) -> _Open:
        with self._lock:
            here = self._open.get(place)
            if here is None or here.stamp != stamp:
                here = _Open(stamp)
                kept = {at: each for at, each in self._open.items() if not _is_over(at)}
                self._open = {**kept, place: here}
            return here

    def _make(self, here: _Open, address: str, path: str) -> Any:
        with self._lock:
            method = self._channel(here, address).unary_unary(path)
            # Replaced whole, so that it is read without the lock.
            here.methods = {**here.methods, (address, path): method}
            return method

    def _channel(self, here: _Open, address: str) -> Opened:
        channel = here.channels.get(address)
        if channel is None:
            channel = here.channels[address] = self._opened(address)
        return channel

    def _opened(self, address: str) -> Opened:
        # Without a pool of its own, channels with like arguments share a connection.
        options: list[tuple[str, int | str]] = [
            *CHANNEL,
            ("grpc.use_local_subchannel_pool", 1),
        ]
        if self._tls is None:
            return self._plain(address, options=options)
        if self._tls.server_name is not None:
            options.append(("grpc.ssl_target_name_override", self._tls.server_name))
        return self._secure(address, self._credentials, options=options)


def _is_over(place: object) -> bool:
    return isinstance(place, asyncio.AbstractEventLoop) and place.is_closed()
