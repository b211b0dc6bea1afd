"""``SymbolBook``: what is known of each symbol, so that a tick or a headline is one call.

The server keeps nothing between calls.  The book keeps, of each symbol, the closes of its
price window, what its news add up to and how its latest texts read, and fills them in.
"""

from __future__ import annotations

import base64
import math
import threading
from collections import deque
from collections.abc import Awaitable, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from numbers import Real
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar, overload

import numpy as np

from megatick_client import calls
from megatick_client.attempts import Line
from megatick_client.deadlines import Deadline
from megatick_client.errors import BadRequest, LookAhead
from megatick_client.forecasts import Forecast
from megatick_client.market_views import MarketView
from megatick_client.sentiment_states import SentimentState
from megatick_client.steps import Exchange
from megatick_client.surface import Awaiting, Blocking, Call
from megatick_client.turns import Turns, wait_for
from megatick_contract import WINDOW_BARS, Truncation
from megatick_contract.admission import Priority
from megatick_contract.near_duplicates import Sketch, resemblance, sketch

Moment: TypeAlias = datetime | float
"""A datetime with its time zone, or seconds since 1970 UTC."""

RECENT_TEXTS: Final = 32
"""With so many of a symbol's latest texts a new one is compared."""

FORMAT: Final = 1
"""Of ``to_dict``."""

NO_NEWS: Final = SentimentState()

ClientT = TypeVar("ClientT", bound=Blocking | Awaiting, covariant=True)


@dataclass(frozen=True, eq=False)
class BookView(MarketView):
    """What one text means for one symbol, and how new it is.

    Attributes:
        symbol: the symbol.
        at_utc: when the text became known.
        novelty: 1 - the greatest ``resemblance`` to one of the symbol's latest texts, in
            [0, 1]: 0 is a near-duplicate, 1 like nothing before.
    """

    symbol: str
    at_utc: datetime
    novelty: float


@dataclass(eq=False)
class _Symbol:
    """What the book keeps of one symbol; times are seconds since 1970."""

    closes: deque[float] = field(default_factory=lambda: deque(maxlen=WINDOW_BARS))
    close_s: float = -math.inf
    state: SentimentState = NO_NEWS
    text_s: float = -math.inf
    latest: deque[Sketch] = field(default_factory=lambda: deque(maxlen=RECENT_TEXTS))
    turns: Turns = field(default_factory=Turns)


class SymbolBook(Generic[ClientT]):
    """Closes, news and latest texts of any number of symbols.  Safe to share.

        book = SymbolBook(client)
        book.price("ACME", 101.2, at=bar.end)
        view = book.headline("ACME", "Acme recalls its flagship", at=now)

    With an ``AsyncClient``, ``headline`` and ``forecast`` are awaited.  Calls about one
    symbol follow one another in the order in which they were made, since each needs what
    the one before left; those about different symbols go side by side.

    Every time is when something became *known*, not when it was written or happened.  No
    call is computed from anything later than its own time: it raises ``LookAhead``.
    """

    def __init__(self, client: ClientT, *, bar_s: float | None = None) -> None:
        """Begin with an empty book.

        Args:
            client: a ``Client`` or ``AsyncClient``, which makes the calls.
            bar_s: how long a bar lasts, in seconds, > 0: a price within the bar of the
                one before it takes its place, so that ticks can be fed.  None: every
                price is the close of a bar of its own.
        """
        if bar_s is not None and not (_is_number(bar_s) and 0 < bar_s < math.inf):
            raise BadRequest(f"bar_s: expected seconds > 0, found {bar_s!r:.40}")
        self._client = client
        self._bar_s = bar_s
        self._symbols: dict[str, _Symbol] = {}
        self._lock = threading.Lock()

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol that has a price, in the order in which they came."""
        return tuple(self._symbols)

    def closes(self, symbol: str) -> tuple[float, ...]:
        """The symbol's price window: at most 64 closes, oldest first; NaN: no price."""
        return tuple(self._known(symbol).closes)

    def sentiment_state(self, symbol: str) -> SentimentState:
        """What the symbol's news add up to, as of its latest text."""
        return self._known(symbol).state

    def price(self, symbol: str, close: float, *, at: Moment) -> None:
        """Take down a price; nothing is sent.

        Args:
            symbol: its name; a new one is added to the book.
            close: > 0, or NaN for a bar without a price; within a bar NaN changes nothing.
            at: when it was known: no earlier than the symbol's price before.

        Raises:
            BadRequest: it is no price, or it is older than the one before.
        """
        at_s = _seconds(at, "at")
        if not _is_number(close) or not (0 < close < math.inf or math.isnan(close)):
            raise BadRequest(
                f"{symbol!r}: close: expected a price > 0, found {close!r:.40}"
            )
        if not (isinstance(symbol, str) and symbol):
            raise BadRequest(f"symbol: expected a name, found {symbol!r:.40}")
        with self._lock:
            kept = self._symbols.get(symbol)
            if kept is None:
                kept = self._symbols[symbol] = _Symbol()
            if at_s < kept.close_s:
                raise BadRequest(
                    f"{symbol!r}: at: expected no price older than the last one, of "
                    f"{_utc(kept.close_s).isoformat()}, found {_utc(at_s).isoformat()}.  "
                    "Feed prices oldest first."
                )
            if kept.closes and self._same_bar(kept.close_s, at_s):
                if not math.isnan(close):  # the bar has the price that it had
                    kept.closes[-1] = float(close)
            else:
                kept.closes.append(float(close))
            kept.close_s = at_s

    @overload
    def headline(
        self: SymbolBook[Blocking],
        symbol: str,
        text: str,
        *,
        at: Moment,
        truncation: Truncation = ...,
        priority: Priority = ...,
        timings: bool = ...,
        timeout_s: float | None = ...,
    ) -> BookView: ...
    @overload
    def headline(
        self: SymbolBook[Awaiting],
        symbol: str,
        text: str,
        *,
        at: Moment,
        truncation: Truncation = ...,
        priority: Priority = ...,
        timings: bool = ...,
        timeout_s: float | None = ...,
    ) -> Awaitable[BookView]: ...
    def headline(
        self,
        symbol: str,
        text: str,
        *,
        at: Moment,
        truncation: Truncation = "head",
        priority: Priority = "live",
        timings: bool = False,
        timeout_s: float | None = None,
    ) -> BookView | Awaitable[BookView]:
        """Score a text, forecast the symbol's price, and add the text to its news.

        A call that fails leaves the book as it was, and may be made again.

        Args:
            symbol: one that has a price.
            text: as ``score`` takes it.
            at: when it was known: no earlier than the symbol's last price and text.
            truncation: as ``score`` takes it.
            priority: as ``score`` takes it.
            timings: as ``score`` takes it.
            timeout_s: seconds for the whole call, its wait for the symbol's calls before
                it included; the client's own where None.

        Raises:
            LookAhead: the book knows of something later than ``at``.
            BadRequest: the symbol has no price, or the text is bad.
            ClientError: as ``market_view``.
        """
        return self._client.make(
            self.headline_call(
                symbol,
                text,
                at=at,
                truncation=truncation,
                priority=priority,
                timings=timings,
                timeout_s=timeout_s,
            )
        )

    def headline_call(
        self,
        symbol: str,
        text: str,
        *,
        at: Moment,
        truncation: Truncation = "head",
        priority: Priority = "live",
        timings: bool = False,
        timeout_s: float | None = None,
    ) -> Call[BookView]:
        """Describe the call that ``headline`` makes, for ``AsyncClient.stream``.

            ask = lambda news: book.headline_call(news.symbol, news.text, at=news.at)
            async for reply in client.stream(feed, ask): ...

        Args and errors are those of ``headline``.
        """
        kept, at_s = self._known(symbol), _seconds(at, "at")
        with self._lock:  # the window as it is now, whatever comes while this call waits
            _refuse_later(symbol, kept, at_s)
            closes = tuple(kept.closes)

        def exchange(line: Line, deadline: Deadline) -> Exchange[BookView]:
            place = kept.turns.come()
            try:
                yield from wait_for(place, deadline, repr(symbol))
                _refuse_later(symbol, kept, at_s, closes=False)
                (view,) = yield from calls.market_view(
                    [text],
                    {symbol: closes},
                    sentiment_state=kept.state,
                    elapsed_s=_elapsed(kept, at_s),
                    truncation=truncation,
                    priority=priority,
                    timings=timings,
                ).exchange(line, deadline)
                return self._taken_down(symbol, kept, text, at_s, view)
            finally:
                kept.turns.leave(place)

        return Call(exchange, timeout_s)

    @overload
    def forecast(
        self: SymbolBook[Blocking],
        symbol: str,
        *,
        as_of: Moment,
        timings: bool = ...,
        timeout_s: float | None = ...,
    ) -> Forecast: ...
    @overload
    def forecast(
        self: SymbolBook[Awaiting],
        symbol: str,
        *,
        as_of: Moment,
        timings: bool = ...,
        timeout_s: float | None = ...,
    ) -> Awaitable[Forecast]: ...
    def forecast(
        self,
        symbol: str,
        *,
        as_of: Moment,
        timings: bool = False,
        timeout_s: float | None = None,
    ) -> Forecast | Awaitable[Forecast]:
        """Forecast a symbol's price from the closes and the news in the book.

        Args:
            symbol: one that has a price.
            as_of: for when: no earlier than the symbol's last price and text.
            timings: as ``score`` takes it.
            timeout_s: as ``headline`` takes it.

        Raises:
            LookAhead: the book knows of something later than ``as_of``.
            BadRequest: the symbol has no price.
            ClientError: as ``Client.forecast``.
        """
        kept, at_s = self._known(symbol), _seconds(as_of, "as_of")
        with self._lock:
            _refuse_later(symbol, kept, at_s)
            closes = tuple(kept.closes)

        def exchange(line: Line, deadline: Deadline) -> Exchange[Forecast]:
            place = kept.turns.come()
            try:
                yield from wait_for(place, deadline, repr(symbol))
                _refuse_later(symbol, kept, at_s, closes=False)
                state, elapsed_s = kept.state, _elapsed(kept, at_s)
            finally:
                kept.turns.leave(place)
            call = calls.forecast(
                {symbol: closes},
                sentiment_state=state,
                elapsed_s=elapsed_s,
                timings=timings,
            )
            (forecast,) = yield from call.exchange(line, deadline)
            return forecast

        return self._client.make(Call(exchange, timeout_s))

    def to_dict(self) -> dict[str, Any]:
        """All that the book knows, of plain values that JSON holds.

        What calls in flight will add is not in it.
        """
        with self._lock:
            return {
                "format": FORMAT,
                "bar_s": self._bar_s,
                "symbols": {name: _plain(kept) for name, kept in self._symbols.items()},
            }

    @classmethod
    def from_dict(cls, client: ClientT, saved: Mapping[str, Any]) -> Self:  # type: ignore[misc]  # covariant, and made here
        """Go on with a book where ``to_dict`` left it.

        Raises:
            BadRequest: it is none of ``to_dict``'s.
        """
        try:
            if saved["format"] != FORMAT:
                raise ValueError(f"format {saved['format']!r:.40}, not {FORMAT}")
            book = cls(client, bar_s=saved["bar_s"])
            for name, plain in saved["symbols"].items():
                book._symbols[str(name)] = _symbol_of(plain)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise BadRequest(
                "book: expected what to_dict() returned in this release, found "
                f"{type(error).__name__}: {error}"
            ) from error
        return book

    def _known(self, symbol: str) -> _Symbol:
        kept = self._symbols.get(symbol) if isinstance(symbol, str) else None
        if kept is None:
            raise BadRequest(
                f"{symbol!r}: expected a symbol with a price, found none in the book.  "
                "Take down its closes with price() first."
            )
        return kept

    def _same_bar(self, one_s: float, other_s: float) -> bool:
        return self._bar_s is not None and one_s // self._bar_s == other_s // self._bar_s

    def _taken_down(
        self, symbol: str, kept: _Symbol, text: str, at_s: float, view: MarketView
    ) -> BookView:
        """Add a text to a symbol's news, and say how new it was."""
        read = sketch(text)
        nearest = max((resemblance(read, each) for each in kept.latest), default=0.0)
        with self._lock:
            kept.latest.append(read)
            kept.state, kept.text_s = view.next_sentiment_state, at_s
        return BookView(
            view.sentiment,
            view.forecast,
            view.next_sentiment_state,
            symbol,
            _utc(at_s),
            1.0 - nearest,
        )


def _refuse_later(symbol: str, kept: _Symbol, at_s: float, *, closes: bool = True) -> None:
    """Raise ``LookAhead`` where a symbol's news, or its closes, are later than this."""
    if closes and kept.close_s > at_s:
        raise LookAhead(symbol, "close", _utc(kept.close_s), _utc(at_s))
    if kept.text_s > at_s:
        raise LookAhead(symbol, "text", _utc(kept.text_s), _utc(at_s))


def _elapsed(kept: _Symbol, at_s: float) -> float:
    """Seconds since the symbol's last text; 0 before the first."""
    return 0.0 if math.isinf(kept.text_s) else at_s - kept.text_s


def _seconds(moment: Any, name: str) -> float:
    """Read a ``Moment``, name the argument in an error."""
    if isinstance(moment, datetime) and moment.utcoffset() is not None:
        return moment.timestamp()
    if _is_number(moment):
        # Milliseconds, say, or nanoseconds, for which the C library has no year; or NaN.
        with suppress(OverflowError, ValueError, OSError):
            return _utc(float(moment)).timestamp()
    raise BadRequest(
        f"{name}: expected a datetime with a time zone, or seconds since 1970 UTC, found "
        f"{moment!r:.60}"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real | Decimal) and not isinstance(value, bool)


def _utc(at_s: float) -> datetime:
    return datetime.fromtimestamp(at_s, UTC)


def _plain(kept: _Symbol) -> dict[str, Any]:
    return {
        "closes": [None if math.isnan(close) else close for close in kept.closes],
        "close_s": kept.close_s,
        "state": asdict(kept.state),
        "text_s": None if math.isinf(kept.text_s) else kept.text_s,
        "latest": [
            base64.b64encode(each.astype("<u4").tobytes()).decode() for each in kept.latest
        ],
    }


def _symbol_of(plain: Mapping[str, Any]) -> _Symbol:
    kept = _Symbol(close_s=float(plain["close_s"]), state=SentimentState(**plain["state"]))
    kept.closes.extend(math.nan if c is None else float(c) for c in plain["closes"])
    if plain["text_s"] is not None:
        kept.text_s = float(plain["text_s"])
    kept.latest.extend(
        np.frombuffer(base64.b64decode(each, validate=True), "<u4").astype(np.uint32)
        for each in plain["latest"]
    )
    return kept
