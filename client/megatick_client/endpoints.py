"""Several servers for one client: whose turn it is, and who is left out for a while.

A server that does not answer is ejected: it gets no calls while another stands, for a
second, then two, up to thirty.  After that it is asked whether it is ready, beside the
calls and not by one of them, and gets calls again once it says so.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, get_args

from megatick_client.backoff import doubled_s
from megatick_client.errors import (
    BadRequest,
    ClientError,
    DeadlineExceeded,
    ModelNotReady,
    ServerError,
    ServerUnavailable,
)

Balance = Literal["round_robin", "least_outstanding"]
"""Whose turn it is: the next one's, or that of who has the fewest calls in flight."""

BALANCES: Final[tuple[Balance, ...]] = get_args(Balance)

FIRST_EJECTION_S: Final = 1.0
LONGEST_EJECTION_S: Final = 30.0
FAILURES_IN_A_ROW: Final = 5
"""So many failures or late answers in a row eject a server; Envoy's ``consecutive_5xx`` has
the same default.  One refused connection is enough."""

_OUTLYING: Final = (ServerError, DeadlineExceeded)


@dataclass(eq=False)
class Endpoint:
    """One server, and how its calls went.

    Attributes:
        address: ``HOST:PORT``.
        in_flight: calls that wait for its answer.
        failures: in a row, up to the latest call.
        ejections: in a row, without a ready server between them.
        ejected_until_s: when it may be probed, in the clock's seconds; None while it
            takes part.
        probing: it has been asked, and has not answered.
    """

    address: str
    in_flight: int = 0
    failures: int = 0
    ejections: int = 0
    ejected_until_s: float | None = None
    probing: bool = False


@dataclass(eq=False)
class Endpoints:
    """The servers of one client.  Safe to share between threads.

    Args:
        addresses: ``HOST:PORT`` of each, at least one, none twice.
        balance: see ``Balance``.
        clock: seconds that never run backwards.

    Raises:
        BadRequest: an argument is no such thing.
    """

    addresses: Sequence[str]
    balance: Balance = "round_robin"
    clock: Callable[[], float] = time.monotonic
    all: tuple[Endpoint, ...] = field(init=False)
    _lock: threading.Lock = field(init=False, default_factory=threading.Lock)
    _turn: int = field(init=False, default=0)
    _ejected: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Check the addresses."""
        if self.balance not in BALANCES:
            raise BadRequest(
                f"balance: expected one of {', '.join(BALANCES)}, found "
                f"{self.balance!r:.40}"
            )
        if not self.addresses:
            raise BadRequest("addresses: expected at least one HOST:PORT, found none")
        for position, address in enumerate(self.addresses):
            if not _is_address(address):
                raise BadRequest(
                    f"address: expected HOST:PORT, found {address!r:.60}.  Triton's gRPC "
                    "port is 8001 where nobody chose another; an IPv6 address stands in "
                    "brackets: [::1]:8001."
                )
            if address in self.addresses[:position]:
                raise BadRequest(f"addresses: {address} is there twice")
        self.all = tuple(Endpoint(address) for address in self.addresses)

    def choose(self, avoid: Collection[Endpoint] = ()) -> Endpoint:
        """Pick who gets the next call, and count it as in flight.

        Args:
            avoid: who should not, while anybody else stands.
        """
        if len(self.all) == 1:
            only = self.all[0]
            with self._lock:
                only.in_flight += 1
            return only
        with self._lock:
            standing = [each for each in self.all if each.ejected_until_s is None]
            fresh = [each for each in standing if each not in avoid]
            # Nobody stands: better a call that may fail than one that must.
            chosen = self._next(fresh or standing or self.all)
            chosen.in_flight += 1
            return chosen

    def another_than(self, tried: Collection[Endpoint]) -> bool:
        """Whether a server stands that is not among these."""
        return any(each.ejected_until_s is None and each not in tried for each in self.all)

    def done(self, endpoint: Endpoint, error: ClientError | None) -> None:
        """Count how a call ended, and eject who does not answer."""
        with self._lock:
            endpoint.in_flight -= 1
            if isinstance(error, ServerUnavailable):
                self._eject(endpoint)
            elif isinstance(error, _OUTLYING):
                self._count_failure(endpoint)
            elif isinstance(error, ModelNotReady):
                self._doubt(endpoint)
            elif endpoint.ejected_until_s is None:
                endpoint.failures = endpoint.ejections = 0

    def beaten(self, endpoint: Endpoint) -> None:
        """Count a call that was late, and lost to one that was sent after it."""
        with self._lock:
            endpoint.in_flight -= 1
            self._count_failure(endpoint)

    def given_up(self, endpoint: Endpoint) -> None:
        """Count a call whose caller, and nobody else, ended it."""
        with self._lock:
            endpoint.in_flight -= 1

    def due_for_a_probe(self) -> Sequence[Endpoint]:
        """Who was ejected long enough; each is named once until it is ``probed``."""
        if not self._ejected:
            return ()
        now = self.clock()
        with self._lock:
            due = [
                each
                for each in self.all
                if each.ejected_until_s is not None
                and each.ejected_until_s <= now
                and not each.probing
            ]
            for each in due:
                each.probing = True
            return due

    def probed(self, endpoint: Endpoint, ready: bool) -> None:
        """Let a server that is ready take part again; leave another out for longer."""
        with self._lock:
            endpoint.probing = False
            endpoint.ejected_until_s = None
            endpoint.failures = 0
            self._ejected -= 1
            if not ready:
                self._eject(endpoint)

    def _next(self, among: Sequence[Endpoint]) -> Endpoint:
        self._turn += 1
        first = self._turn % len(among)
        turned = (*among[first:], *among[:first])
        if self.balance == "least_outstanding":
            return min(turned, key=lambda each: each.in_flight)
        return turned[0]

    def _count_failure(self, endpoint: Endpoint) -> None:
        endpoint.failures += 1
        if endpoint.failures >= FAILURES_IN_A_ROW:
            self._eject(endpoint)

    def _doubt(self, endpoint: Endpoint) -> None:
        """Leave a server out until it was asked whether it is ready, which is at once.

        One that stops unloads its models first, and refuses for seconds what another would
        answer; one that never had the model is ready, and takes part again.
        """
        if endpoint.ejected_until_s is None:
            endpoint.ejected_until_s = self.clock()
            self._ejected += 1

    def _eject(self, endpoint: Endpoint) -> None:
        if endpoint.ejected_until_s is not None:
            return  # several calls may find the same server gone
        seconds = doubled_s(
            FIRST_EJECTION_S, endpoint.ejections, longest_s=LONGEST_EJECTION_S
        )
        endpoint.ejections += 1
        self._ejected += 1
        endpoint.failures = 0
        endpoint.ejected_until_s = self.clock() + seconds


def _is_address(address: object) -> bool:
    """Tell whether this is ``HOST:PORT``; that it leads somewhere is gRPC's to find."""
    if not (isinstance(address, str) and address.isprintable()):
        return False
    host, _, port = address.rpartition(":")
    # gRPC would take a port's low 16 bits, and what has more colons for an address of IPv6
    # with the port of HTTPS.
    if not (port.isascii() and port.isdecimal() and len(port) <= 5 and int(port) < 1 << 16):
        return False
    bracketed = host.startswith("[") and host.endswith("]")
    return bool(host) and "/" not in host and (bracketed or ":" not in host)
