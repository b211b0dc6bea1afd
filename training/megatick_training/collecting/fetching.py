"""Asking a web server politely: slowly enough, not too much, again where it says so."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Final

import httpx
import tenacity

from megatick_training.errors import FetchError

MAX_BYTES: Final = 32 * 1024 * 1024
"""Of one answer; the largest filings are cut off by it, and said to be."""

TIMEOUT_S: Final = 30.0
_WHOLE_S: Final = 300.0  # a server that drips is given up
_ATTEMPTS: Final = 5
_LONGEST_WAIT_S: Final = 120.0
_BUSY: Final = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)


@dataclass(frozen=True)
class Fetched:
    """An answer.

    Attributes:
        url: where it was found, after redirects.
        content: decompressed; empty where nothing changed.
        headers: of the answer.
        unchanged: 304: what the sent validators say is still so.
    """

    url: str
    content: bytes
    headers: httpx.Headers
    unchanged: bool = False


class _Busy(Exception):
    """The server asks to come back later, or was not reached."""

    def __init__(self, problem: str, *, after_s: float | None = None) -> None:
        super().__init__(problem)
        self.after_s = after_s


class Fetcher:
    """An HTTP client with limits.

    It follows up to five redirects and asks again, up to four times, after 429, 503 or a
    lost connection: as late as ``Retry-After`` says, else after 1, 2, 4 and 8 seconds.
    """

    def __init__(
        self,
        *,
        user_agent: str,
        interval_s: float = 0.0,
        max_bytes: int = MAX_BYTES,
        transport: httpx.BaseTransport | None = None,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Open a client.

        Args:
            user_agent: who asks.
            interval_s: least time from one request to the next.
            max_bytes: of one answer.
            transport: what carries requests, instead of the network.
            sleep: waits so many seconds.
            clock: seconds that only rise.
        """
        self._client = httpx.Client(
            headers={"User-Agent": user_agent},
            timeout=TIMEOUT_S,
            follow_redirects=True,
            max_redirects=5,
            transport=transport,
            event_hooks={"request": [lambda _: self._wait_for_turn()]},
        )
        self._interval_s, self._max_bytes = interval_s, max_bytes
        self._sleep, self._clock = sleep, clock
        self._next_turn_s = clock()

    def __enter__(self) -> Fetcher:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, url: str, *, headers: Mapping[str, str] | None = None) -> Fetched:
        """Ask for an address.

        Raises:
            FetchError: not reached, refused, too large, or still busy after all attempts.
        """
        attempts = tenacity.Retrying(
            retry=tenacity.retry_if_exception_type(_Busy),
            stop=tenacity.stop_after_attempt(_ATTEMPTS),
            wait=_wait_s,
            sleep=self._sleep,
            reraise=True,
        )
        try:
            return attempts(self._get, url, dict(headers or {}))
        except _Busy as error:
            raise FetchError(url, f"{error}; asked {_ATTEMPTS} times") from error
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise FetchError(url, f"{type(error).__name__}: {error}") from error

    def _get(self, url: str, headers: dict[str, str]) -> Fetched:
        try:
            with self._client.stream("GET", url, headers=headers) as answer:
                if answer.status_code in _BUSY:
                    self._ask_later(url, answer)
                if answer.status_code == HTTPStatus.NOT_MODIFIED:
                    return Fetched(str(answer.url), b"", answer.headers, unchanged=True)
                if answer.status_code != HTTPStatus.OK:
                    status = f"{answer.status_code} {answer.reason_phrase}"
                    raise FetchError(url, f"expected 200, the server answered {status}")
                return Fetched(str(answer.url), self._read(url, answer), answer.headers)
        except httpx.TransportError as error:
            if isinstance(error, httpx.UnsupportedProtocol):
                raise
            raise _Busy(f"{type(error).__name__}: {error}") from error

    def _ask_later(self, url: str, answer: httpx.Response) -> None:
        after_s = retry_after_s(answer.headers.get("retry-after"))
        if after_s is not None and after_s > _LONGEST_WAIT_S:
            raise FetchError(
                url,
                f"the server answered {answer.status_code} and asks to wait {after_s:.0f} "
                f"s, more than {_LONGEST_WAIT_S:.0f}: come back then",
            )
        raise _Busy(f"the server answered {answer.status_code}", after_s=after_s)

    def _read(self, url: str, answer: httpx.Response) -> bytes:
        parts, size, end_s = [], 0, self._clock() + _WHOLE_S
        for part in answer.iter_bytes():
            parts.append(part)
            size += len(part)
            if size > self._max_bytes:
                raise FetchError(url, f"is larger than {self._max_bytes:,} bytes")
            if self._clock() > end_s:
                raise FetchError(url, f"took longer than {_WHOLE_S:.0f} s")
        return b"".join(parts)

    def _wait_for_turn(self) -> None:
        """Keep the distance between requests, redirects included."""
        now_s = self._clock()
        if now_s < self._next_turn_s:
            self._sleep(self._next_turn_s - now_s)
        self._next_turn_s = max(now_s, self._next_turn_s) + self._interval_s


def retry_after_s(value: str | None, *, now: datetime | None = None) -> float | None:
    """Read ``Retry-After``: seconds, or a date.

    Returns:
        Seconds from now, 0 or more; None where there is no such header that can be read.

    Source:
        RFC 9110, section 10.2.3.

    >>> retry_after_s("7")
    7.0
    """
    if value is None:
        return None
    if value.strip().isdigit():
        return float(value)
    try:
        at = email.utils.parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (at.astimezone(UTC) - (now or datetime.now(UTC))).total_seconds())


_doubling = tenacity.wait_exponential(multiplier=1, max=_LONGEST_WAIT_S)


def _wait_s(state: tenacity.RetryCallState) -> float:
    error = state.outcome.exception() if state.outcome else None
    after_s = error.after_s if isinstance(error, _Busy) else None
    return _doubling(state) if after_s is None else after_s
