"""``SymbolBook`` against a real Triton, whose stand-in tells what reached it.

It scores ``+`` 1/4 and does not decay; ``p_up`` is (bars from the first close to the end of
the window / 64, elapsed seconds / 1000, texts of the state / 1000).
"""

from __future__ import annotations

import asyncio
import json
import math
import re
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from held import Held

from megatick_client import (
    AsyncClient,
    BadRequest,
    BookView,
    Client,
    DeadlineExceeded,
    LookAhead,
    SentimentState,
    ServerError,
    StreamReply,
    SymbolBook,
)
from megatick_client.surface import Call

if TYPE_CHECKING:
    from tests.client.conftest import MakeClient

OPEN = datetime(2026, 11, 27, 14, 30, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return OPEN + timedelta(seconds=seconds)


@pytest.fixture
def unsent(make_client: MakeClient) -> Any:
    """A client that never gets as far as sending."""
    with make_client("127.0.0.1:1") as client:
        yield client


@pytest.mark.triton
def test_a_headline_is_one_call(client: Client) -> None:
    book = SymbolBook(client)
    book.price("ACME", 100.0, at=after(0))
    book.price("ACME", 102.0, at=after(60))

    first = book.headline("ACME", "up +", at=after(90))
    second = book.headline("ACME", "down -", at=after(340))

    assert (first.symbol, first.at_utc, first.novelty) == ("ACME", after(90), 1.0)
    assert first.sentiment.score == 0.25
    assert first.forecast.last_price == 102.0
    assert first.forecast.p_up.tolist() == [2 / 64, 0, 0]
    assert second.forecast.p_up.tolist() == pytest.approx([2 / 64, 250 / 1000, 1 / 1000])
    assert book.sentiment_state("ACME") == SentimentState(0.0, 2, -0.25, 2)
    assert second.next_sentiment_state == SentimentState(0.0, 2, -0.25, 2)


@pytest.mark.triton
def test_a_forecast_of_what_the_book_knows(client: Client) -> None:
    book = SymbolBook(client)
    book.price("ACME", 100.0, at=after(0))
    book.headline("ACME", "up +", at=after(10))
    book.price("ACME", 104.0, at=after(60))

    forecast = book.forecast("ACME", as_of=after(110))

    assert (forecast.symbol, forecast.last_price) == ("ACME", 104.0)
    assert forecast.p_up.tolist() == pytest.approx([2 / 64, 100 / 1000, 1 / 1000])


@pytest.mark.triton
def test_novelty(client: Client) -> None:
    """Of abcdefg and abcdex 1 of 4 shingles is in both; another symbol's texts are not
    compared."""
    book = SymbolBook(client)
    for symbol in ("ACME", "BETA"):
        book.price(symbol, 1.0, at=after(0))
    texts = [
        ("ACME", "abcdefg"),
        ("ACME", "abcdex"),
        ("ACME", "$X abcdefg 7"),
        ("BETA", "abcdefg"),
    ]

    found = [book.headline(symbol, text, at=after(1)).novelty for symbol, text in texts]

    assert found == [1.0, 0.75, 0.0, 1.0]


@pytest.mark.triton
def test_a_failed_call_leaves_no_trace(client: Client) -> None:
    book = SymbolBook(client)
    book.price("ACME", 1.0, at=after(0))
    book.headline("ACME", "up +", at=after(1))
    before = book.to_dict()

    with pytest.raises(ServerError):
        book.headline("ACME", "crash", at=after(5))
    with pytest.raises(BadRequest):
        book.headline("ACME", " ", at=after(5))

    assert book.to_dict() == before
    assert book.headline("ACME", "crash not", at=after(2)).novelty > 0.5


@pytest.mark.triton
def test_a_restart_loses_nothing(client: Client) -> None:
    book = SymbolBook(client, bar_s=60)
    for bar, close in enumerate([100.0, math.nan, 102.0]):
        book.price("ACME", close, at=after(60 * bar))
    book.price("BETA", 7.0, at=after(0))
    book.headline("ACME", "Acme recalls its flagship +", at=after(130))

    saved = json.loads(json.dumps(book.to_dict(), allow_nan=False))
    again = SymbolBook.from_dict(client, saved)

    assert again.symbols == ("ACME", "BETA")
    assert again.to_dict() == book.to_dict()
    again.price("ACME", 103.0, at=after(150))  # in the last bar
    assert again.closes("ACME")[2:] == (103.0,)
    view = again.headline("ACME", "Acme recalls its flagship", at=after(230))
    assert view.novelty == 0.0
    assert view.forecast.p_up.tolist() == pytest.approx([3 / 64, 100 / 1000, 1 / 1000])
    with pytest.raises(LookAhead):
        again.headline("ACME", "late", at=after(229))


@pytest.mark.triton
def test_one_symbols_texts_follow_one_another(
    make_client: MakeClient, address: str
) -> None:
    """Eight threads send a text each; every state holds all texts before it."""
    with make_client(address) as client:
        book = SymbolBook(client)
        book.price("ACME", 1.0, at=after(0))
        counts = []

        def send() -> None:
            view = book.headline("ACME", "up +", at=after(1))
            counts.append(view.next_sentiment_state.texts)

        threads = [threading.Thread(target=send) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    assert sorted(counts) == [1, 2, 3, 4, 5, 6, 7, 8]


@pytest.mark.triton
def test_tasks_take_turns_and_one_that_is_cancelled_leaves(
    address: str, held: Held
) -> None:
    async def run() -> list[int]:
        async with AsyncClient(address) as client:
            book = SymbolBook(client)
            book.price("ACME", 1.0, at=after(0))
            texts = [held.text, "b", "c", "d"]
            tasks = [
                asyncio.ensure_future(book.headline("ACME", text, at=after(i)))
                for i, text in enumerate(texts)
            ]
            book.price("ACME", 9.0, at=after(60))  # later than all of them
            await asyncio.to_thread(held.wait)
            tasks[1].cancel()
            with pytest.raises(asyncio.CancelledError):
                await tasks.pop(1)
            held.let_go()
            views = await asyncio.gather(*tasks)
            assert [view.forecast.last_price for view in views] == [1.0] * 3
            return [view.next_sentiment_state.texts for view in views]

    assert asyncio.run(run()) == [1, 2, 3]


@pytest.mark.triton
def test_headlines_over_a_stream(address: str) -> None:
    """Ten of each symbol, in turns: each knows those before it.  One is out of order."""
    feed = [(("ACME", "BETA")[i % 2], i) for i in range(20)]
    feed.insert(15, ("ACME", 1))

    async def run() -> list[StreamReply[BookView]]:
        async with AsyncClient(address) as client:
            book = SymbolBook(client)
            for symbol in ("ACME", "BETA"):
                book.price(symbol, 1.0, at=after(0))

            def ask(news: tuple[str, int]) -> Call[BookView]:
                return book.headline_call(news[0], "up +", at=after(news[1]))

            return [reply async for reply in client.stream(feed, ask)]

    replies = asyncio.run(run())
    assert isinstance(replies.pop(15).error, LookAhead)
    counts = [r.result.next_sentiment_state.texts for r in replies if r.result]
    assert counts == [1 + i // 2 for i in range(20)]


@pytest.mark.triton
def test_the_wait_for_ones_turn_counts(client: Client, held: Held) -> None:
    book = SymbolBook(client)
    book.price("ACME", 1.0, at=after(0))
    slow = threading.Thread(
        target=lambda: book.headline("ACME", held.text, at=after(1), timeout_s=60)
    )
    slow.start()
    held.wait()

    with pytest.raises(DeadlineExceeded, match="'ACME': the calls before this one took"):
        book.headline("ACME", "up", at=after(2), timeout_s=0.1)

    held.let_go()
    slow.join()
    assert book.sentiment_state("ACME").texts == 1


@pytest.mark.triton
def test_look_ahead_is_refused(client: Client) -> None:
    book = SymbolBook(client)
    book.price("ACME", 1.0, at=after(10))

    with pytest.raises(LookAhead, match=r"14:30:09.*found a close of .*14:30:10") as error:
        book.headline("ACME", "early", at=after(9))
    assert (error.value.field, error.value.known_utc) == ("close", after(10))
    with pytest.raises(LookAhead):
        book.forecast("ACME", as_of=after(9))

    book.headline("ACME", "up", at=after(20))
    for late in (
        lambda: book.headline("ACME", "late", at=after(19)),
        lambda: book.forecast("ACME", as_of=after(19)),
    ):
        with pytest.raises(LookAhead, match=r"found a text of .*14:30:20"):
            late()
    assert book.sentiment_state("ACME").texts == 1


def test_only_the_window_is_kept(unsent: Client) -> None:
    book = SymbolBook(unsent)
    for bar in range(70):
        book.price("ACME", 1.0 + bar, at=after(bar))

    assert book.closes("ACME") == tuple(map(float, range(7, 71)))


def test_ticks_within_a_bar_are_its_close_so_far(unsent: Client) -> None:
    """Bars of a minute: 0, 59 | 60, 119 | 300."""
    book = SymbolBook(unsent, bar_s=60)
    for at_s, tick in [(0, 1.0), (59, 2.0), (60, 3.0), (119, 4.0), (300, 5.0)]:
        book.price("ACME", tick, at=after(at_s))

    assert book.closes("ACME") == (2.0, 4.0, 5.0)


def test_a_tick_without_a_price_leaves_its_bar_the_one_before(unsent: Client) -> None:
    """Bars of a minute: 0, 59 | 60."""
    book = SymbolBook(unsent, bar_s=60)
    for at_s, tick in [(0, 1.0), (59, math.nan), (60, math.nan)]:
        book.price("ACME", tick, at=after(at_s))

    assert book.closes("ACME") == pytest.approx((1.0, math.nan), nan_ok=True)


def test_exact_decimals_are_prices(unsent: Client) -> None:
    book = SymbolBook(unsent)
    book.price("ACME", Decimal("101.25"), at=Decimal(5))  # type: ignore[arg-type]

    assert book.closes("ACME") == (101.25,)
    with pytest.raises(BadRequest, match="expected a price > 0, found Decimal"):
        book.price("ACME", Decimal(0), at=6)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("close", "at", "message"),
    [
        pytest.param(1.0, after(-1), "older than the last one", id="backwards"),
        pytest.param(0.0, after(1), "expected a price > 0, found 0.0", id="zero"),
        pytest.param(math.inf, after(1), "expected a price > 0, found inf", id="inf"),
        pytest.param("1", after(1), "expected a price > 0, found '1'", id="text"),
        pytest.param(True, after(1), "expected a price > 0, found True", id="bool"),
        pytest.param(1.0, datetime(2026, 11, 27), "with a time zone", id="no-zone"),
        pytest.param(1.0, 1.8e12, "seconds since 1970 UTC, found 18", id="milliseconds"),
        pytest.param(
            1.0, 18 * 10**17, "seconds since 1970 UTC, found 18", id="nanoseconds"
        ),
        pytest.param(1.0, math.nan, "seconds since 1970 UTC, found nan", id="nan-time"),
    ],
)
def test_a_bad_price_is_refused(unsent: Client, close: Any, at: Any, message: str) -> None:
    book = SymbolBook(unsent)
    book.price("ACME", 1.0, at=OPEN.timestamp())

    with pytest.raises(BadRequest, match=message):
        book.price("ACME", close, at=at)
    assert book.closes("ACME") == (1.0,)


@pytest.mark.parametrize("symbol", ["ACME", ["ACME"], None], ids=repr)
def test_a_symbol_without_a_price(unsent: Client, symbol: Any) -> None:
    found = re.escape(f"{symbol!r}: expected a symbol with a price")
    with pytest.raises(BadRequest, match=found):
        SymbolBook(unsent).headline(symbol, "up", at=OPEN)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        pytest.param({}, "KeyError: 'format'", id="empty"),
        pytest.param({"format": 2}, "format 2, not 1", id="another-release"),
        pytest.param(
            {"format": 1, "bar_s": None, "symbols": {"A": {"close_s": "x"}}},
            "ValueError",
            id="broken",
        ),
    ],
)
def test_what_is_no_book(unsent: Client, saved: Any, message: str) -> None:
    with pytest.raises(BadRequest, match=message):
        SymbolBook.from_dict(unsent, saved)


def test_a_bar_has_a_length(unsent: Client) -> None:
    with pytest.raises(BadRequest, match="bar_s: expected seconds > 0, found 0"):
        SymbolBook(unsent, bar_s=0)
