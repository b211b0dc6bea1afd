"""What systemd is told of a service: that it is ready, loads, or stops."""

from __future__ import annotations

import os
import socket
import time


def tell(*states: str) -> None:
    """Tell the service manager; nothing where none asked to be told.

    Source: sd_notify(3).

    Args:
        states: such as ``READY=1``.

    Raises:
        OSError: it asked, and does not listen.
    """
    if not (address := os.environ.get("NOTIFY_SOCKET")):
        return
    if address.startswith("@"):
        address = "\0" + address[1:]  # Linux's abstract names
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as manager:
        manager.connect(address)
        manager.sendall("\n".join(states).encode())


def tell_reloading() -> None:
    """Tell it that READY=1 will come again, once another model is loaded or is not."""
    tell("RELOADING=1", f"MONOTONIC_USEC={time.monotonic_ns() // 1000}")
