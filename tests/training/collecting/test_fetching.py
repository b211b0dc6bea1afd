from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import httpx
import pytest

from megatick_training.collecting.fetching import Fetcher, retry_after_s
from megatick_training.errors import FetchError


class Clock:
    """Seconds that pass only in sleep."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(round(seconds, 6))
        self.now_s += seconds


def fetcher(
    answer: Callable[[httpx.Request], httpx.Response],
    clock: Clock,
    *,
    interval_s: float = 0.0,
    max_bytes: int = 1000,
) -> Fetcher:
    return Fetcher(
        user_agent="Jo Doe jo@doe.example",
        interval_s=interval_s,
        max_bytes=max_bytes,
        transport=httpx.MockTransport(answer),
        sleep=clock.sleep,
        clock=lambda: clock.now_s,
    )


def one_by_one(*answers: httpx.Response) -> Callable[[httpx.Request], httpx.Response]:
    left: Iterator[httpx.Response] = iter(answers)
    return lambda _: next(left)


@pytest.mark.parametrize("status", [429, 503])
def test_it_comes_back_when_the_server_says(status: int) -> None:
    clock = Clock()
    answers = one_by_one(
        httpx.Response(status, headers={"Retry-After": "7"}),
        httpx.Response(status),
        httpx.Response(200, text="up"),
    )

    with fetcher(answers, clock) as asking:
        assert asking.get("https://a.example/").content == b"up"

    assert clock.slept == [7.0, 2.0]  # as told; else 1, 2, 4 … by the attempt


def test_a_server_that_asks_for_hours_is_not_waited_for() -> None:
    clock = Clock()
    answers = one_by_one(httpx.Response(429, headers={"Retry-After": "3600"}))

    with fetcher(answers, clock) as asking, pytest.raises(FetchError, match="wait 3600 s"):
        asking.get("https://a.example/")

    assert clock.slept == []


def test_requests_keep_their_distance_redirects_included() -> None:
    clock, at_s = Clock(), list[float]()

    def answer(request: httpx.Request) -> httpx.Response:
        at_s.append(round(clock.now_s, 6))
        if request.url.path == "/old":
            return httpx.Response(301, headers={"Location": "/new"})
        return httpx.Response(200)

    with fetcher(answer, clock, interval_s=0.1) as asking:
        for path in ("old", "new", "new"):
            asking.get(f"https://a.example/{path}")

    assert at_s == [0.0, 0.1, 0.2, 0.3]


def test_who_asks_is_said() -> None:
    agents: list[str] = []

    def answer(request: httpx.Request) -> httpx.Response:
        agents.append(request.headers["user-agent"])
        return httpx.Response(200)

    with fetcher(answer, Clock()) as asking:
        asking.get("https://a.example/")

    assert agents == ["Jo Doe jo@doe.example"]


def lost(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadTimeout("nothing came")


def around(_: httpx.Request) -> httpx.Response:
    return httpx.Response(302, headers={"Location": "https://a.example/again"})


@pytest.mark.parametrize(
    ("answer", "url", "problem"),
    [
        pytest.param(
            lambda _: httpx.Response(200, content=b"x" * 1001),
            "https://a.example/",
            "larger than 1,000 bytes",
            id="too-large",
        ),
        pytest.param(
            lambda _: httpx.Response(403),
            "https://a.example/",
            "403 Forbidden",
            id="refused",
        ),
        pytest.param(lost, "https://a.example/", "ReadTimeout.*asked 5 times", id="lost"),
        pytest.param(around, "https://a.example/", "TooManyRedirects", id="around"),
        pytest.param(lost, "https://a.example:x/", "InvalidURL", id="no-address"),
    ],
)
def test_what_cannot_be_had(
    answer: Callable[[httpx.Request], httpx.Response], url: str, problem: str
) -> None:
    with (
        fetcher(answer, Clock()) as asking,
        pytest.raises(FetchError, match=problem) as told,
    ):
        asking.get(url)

    assert str(told.value).startswith(url)


def test_retry_after_may_be_a_date() -> None:
    now = datetime(2026, 3, 2, 15, 0, 0, tzinfo=UTC)

    assert retry_after_s("Mon, 02 Mar 2026 15:00:09 GMT", now=now) == 9.0
    assert retry_after_s("Mon, 02 Mar 2026 14:00:00 GMT", now=now) == 0.0
    assert retry_after_s("soon", now=now) is None
    assert retry_after_s(None) is None
