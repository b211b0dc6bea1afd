"""What systemd is told of a service: that it is ready, loads, or stops."""

from __future__ import annotations

import logging
import os
import socket
import time

_LOG = logging.getLogger(__name__)


def tell(*states: str) -> None:
    """Tell the service manager; nothing where none asked to be told.

    Source: sd_notify(3).

    One that asked and does not listen is no reason to end a server: it is logged.

    Args:
        states: such as ``READY=1``.
    """
    if not (address := os.environ.get("NOTIFY_SOCKET")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract names
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_UNIX, kind) as manager:
        try:
            manager.connect(address)
            manager.sendall("\n".join(states).encode())
        except OSError as error:
            _LOG.warning("the service manager at %r hears nothing: %s", address, error)


def tell_reloading() -> None:
    """Tell it that READY=1 will come again, once another model is loaded or is not."""
    tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
