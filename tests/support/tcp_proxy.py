"""Connections that go wrong on purpose: a relay that falls silent, and an address that
swallows who calls it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress


class TcpProxy:
    """Relays connections to a server until it is told to let those that stand hang.

    Who is on one of them then sees neither data nor its end, as when a firewall has
    forgotten a connection.  New connections are relayed all the same.
    """

    def __init__(self, target: str) -> None:
        self.lead_to(target)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self.connections = 0
        self._hanging: list[threading.Event] = []
        self._sockets = [self._listener]
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, target: str) -> None:
        """Relay new connections to another server; those that stand stay where they are."""
        host, port = target.split(":")
        self._target = (host, int(port))

    def hang(self) -> None:
        """Let the connections that stand fall silent for good."""
        for event in self._hanging:
            event.set()

    def close(self) -> None:
        """End all of them."""
        for each in self._sockets:
            with suppress(OSError):  # it may have ended already
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with suppress(OSError):  # the listener is closed
            while True:
                near, _ = self._listener.accept()
                far = socket.create_connection(self._target)
                hanging = threading.Event()
                self._sockets += [near, far]
                self._hanging.append(hanging)
                self.connections += 1
                for ends in ((near, far), (far, near)):
                    arguments = (*ends, hanging)
                    threading.Thread(
                        target=self._relay, args=arguments, daemon=True
                    ).start()

    @staticmethod
    def _relay(
        source: socket.socket, target: socket.socket, hanging: threading.Event
    ) -> None:
        with suppress(OSError):  # either end is closed
            while data := source.recv(65536):
                if not hanging.is_set():
                    target.sendall(data)
            if not hanging.is_set():
                target.shutdown(socket.SHUT_WR)


@contextmanager
def proxy(target: str) -> Iterator[TcpProxy]:
    """A proxy in front of ``host:port``."""
    relay = TcpProxy(target)
    try:
        yield relay
    finally:
        relay.close()


@contextmanager
def black_hole() -> Iterator[str]:
    """An address where connections are neither accepted nor refused.

    Linux drops whoever knocks while a listener's queue is full.
    """
    with ExitStack() as knocking:
        listener = knocking.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
        for _ in range(4):
            each = knocking.enter_context(socket.socket())
            each.setblocking(False)
            with suppress(BlockingIOError):
                each.connect(listener.getsockname())
        yield f"127.0.0.1:{listener.getsockname()[1]}"
