"""gRPC channels: made at the first use, kept, and made anew when they must be.

An asyncio channel belongs to one event loop; another loop, or a changed certificate, leaves
the old ones alone and makes others.
"""

from __future__ import annotations

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Mapping
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
        self._made_for: object = None
        self._channels: dict[str, Opened] = {}
        self._methods: Mapping[tuple[str, str], Any] = {}
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
        where = (self._place(), self._current_stamp())
        if where != self._made_for:
            self._begin_anew(where)
        found = self._methods.get((address, path))
        return found if found is not None else self._make(address, path)

    def stream(self, address: str, path: str) -> Any:
        """Return gRPC's callable of a method that takes and returns streams of bytes."""
        self.method(address, path)
        return self._channels[address].stream_stream(path)

    def drain(self) -> list[Opened]:
        """Forget the channels, and return them to whoever closes them."""
        with self._lock:
            channels = list(self._channels.values())
            self._channels, self._methods = {}, {}
            return channels

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

    def _begin_anew(self, where: object) -> None:
        """Calls in flight keep the channels that they are on."""
        with self._lock:
            if where != self._made_for:
                self._channels, self._methods = {}, {}
                self._made_for = where

    def _make(self, address: str, path: str) -> Any:
        with self._lock:
            channel = self._channels.get(address)
            if channel is None:
                channel = self._channels[address] = self._open(address)
            method = channel.unary_unary(path)
            # Replaced whole, so that it is read without the lock.
            self._methods = {**self._methods, (address, path): method}
            return method

    def _open(self, address: str) -> Opened:
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
