"""What a model can be asked: each call's arguments, rules and result, written once.

``Client`` and ``AsyncClient`` make methods of these functions, see
``megatick_client.surface``.  Each reads its arguments at once and raises
``BadRequest`` for a bad one.  What the servers themselves are asked is in
``megatick_client.server_calls``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar, overload

import numpy.typing as npt

from megatick_client.attempts import Line, infer_all
from megatick_client.deadlines import Deadline
from megatick_client.embeddings import (
    Embedding,
    Embeddings,
    PartialEmbeddings,
    embedding_request,
    read_embeddings,
)
from megatick_client.errors import BadRequest
from megatick_client.explanations import Explanation, Explanations
from megatick_client.forecasts import (
    Forecast,
    Forecasts,
    PartialForecasts,
    forecast_request,
    read_forecasts,
)
from megatick_client.good_rows import Errors, ask_good_rows, returns_errors
from megatick_client.market_views import (
    MarketView,
    MarketViews,
    PartialMarketViews,
    market_view_request,
    read_market_views,
)
from megatick_client.occlusion import MAX_SPANS, MAX_VARIANTS, explain_rows
from megatick_client.price_windows import cut_windows, split_prices
from megatick_client.requests import Reply, Request
from megatick_client.sentiment_states import SentimentState, read_elapsed, read_states
from megatick_client.sentiments import (
    PartialSentiments,
    Sentiment,
    Sentiments,
    read_sentiments,
    sentiment_request,
)
from megatick_client.splitting import SplitOrTruncation, score_split
from megatick_client.steps import Exchange
from megatick_client.surface import Call
from megatick_client.texts import index_of, listed, read_texts
from megatick_contract import Truncation
from megatick_contract.admission import Priority

if TYPE_CHECKING:
    import pandas as pd

    History: TypeAlias = Sequence[float] | pd.Series[Any]
    Histories: TypeAlias = (
        Sequence[Sequence[float]]
        | Sequence[npt.NDArray[Any]]
        | Mapping[str, Any]
        | pd.DataFrame
    )

T = TypeVar("T")


@overload
def score(  # type: ignore[overload-overlap]  # a str is an iterable of str, too
    texts: str,
    *,
    errors: Literal["raise"] = ...,
    truncation: SplitOrTruncation = ...,
    priority: Priority = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[Sentiment]: ...
@overload
def score(
    texts: Iterable[str],
    *,
    errors: Literal["raise"] = ...,
    truncation: SplitOrTruncation = ...,
    priority: Priority = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[Sentiments]: ...
@overload
def score(
    texts: Iterable[str | None],
    *,
    errors: Literal["return"],
    truncation: SplitOrTruncation = ...,
    priority: Priority = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[PartialSentiments]: ...
def score(
    texts: str | Iterable[Any],
    *,
    errors: Errors = "raise",
    truncation: SplitOrTruncation = "head",
    priority: Priority = "live",
    timings: bool = False,
    timeout_s: float | None = None,
) -> Call[Any]:
    """Score the sentiment of a text, or of many.

    Args:
        texts: one str; or any number in a list, array or Series.  Each is not blank
            and at most 64 KiB of UTF-8.
        errors: of several texts some of which are bad: "raise", and none is scored; or
            "return" the reason in each one's place, and score the others.
        truncation: what becomes of a text longer than the model's window: keep its
            "head" or its "tail" (the result says ``truncated``), or "error"; or "split"
            it between sentences, of any length, and combine the ``parts``.
        priority: "live", or "backfill", which the server computes only while no live
            text waits (in a server for TensorRT both are alike).
        timings: ask for the server's time in each stage, and the digest of its model
            (``result.reply``).
        timeout_s: seconds for the whole call; the client's own where None.

    Returns:
        A ``Sentiment`` for one str, ``Sentiments`` in the given order for more; where
        errors are returned ``PartialSentiments``, with a ``Rejection`` for each bad text.

    Raises:
        BadRequest: lists every bad text by its row.
        ClientError: see the class.
    """
    if returns_errors(errors, single=isinstance(texts, str), thing="text"):

        def ask(some: Sequence[Any]) -> Call[Sentiments]:
            return score(some, truncation=truncation, priority=priority, timings=timings)

        return _good_texts_call(texts, ask, PartialSentiments, timeout_s=timeout_s)
    rows = read_texts(texts)
    if truncation == "split":

        def exchange(line: Line, deadline: Deadline) -> Exchange[Any]:
            results = yield from score_split(rows, priority, timings, line, deadline)
            return results[0] if rows.single else results

        return Call(exchange, timeout_s)
    request = sentiment_request(rows, truncation).in_lane(priority).timed(timings)
    return _rows_call(
        request,
        lambda reply: read_sentiments(reply, rows),
        empty=Sentiments((), rows.frame_index),
        single=rows.single,
        timeout_s=timeout_s,
    )


@overload
def explain(  # type: ignore[overload-overlap]  # as in score
    texts: str,
    *,
    max_spans: int = ...,
    max_variants: int = ...,
    truncation: Truncation = ...,
    priority: Priority = ...,
    timeout_s: float | None = ...,
) -> Call[Explanation]: ...
@overload
def explain(
    texts: Iterable[str],
    *,
    max_spans: int = ...,
    max_variants: int = ...,
    truncation: Truncation = ...,
    priority: Priority = ...,
    timeout_s: float | None = ...,
) -> Call[Explanations]: ...
def explain(
    texts: str | Iterable[str],
    *,
    max_spans: int = MAX_SPANS,
    max_variants: int = MAX_VARIANTS,
    truncation: Truncation = "head",
    priority: Priority = "backfill",
    timeout_s: float | None = None,
) -> Call[Any]:
    """Name the words of a text, or of many, that its score rests on.

    Words are left out and the rest is scored by the same served model, many variants of
    all texts in a request; see ``megatick_client.occlusion`` for how, and for what this
    cannot see.

    Args:
        texts: as ``score`` takes them.
        max_spans: most spans to name of a text, >= 1.
        max_variants: most variants of a text to score, >= 4; a text of more words is
            looked into where it matters, from coarse to fine.
        truncation: as ``score`` takes it, but for "split".
        priority: as ``score`` takes it; an explanation can wait.
        timeout_s: seconds for the whole call; the client's own where None.  The search
            ends early where the time would not suffice, and says so (``refined``).

    Returns:
        An ``Explanation`` for one str, ``Explanations`` in the given order for more.

    Raises:
        BadRequest: lists every bad text by its row.
        ClientError: see the class.
    """
    rows = read_texts(texts)
    for name, value, least in (
        ("max_spans", max_spans, 1),
        ("max_variants", max_variants, 4),
    ):
        if not isinstance(value, int) or value < least:
            raise BadRequest(f"{name}: expected an int >= {least}, found {value!r:.40}")
    request = sentiment_request(rows, truncation).in_lane(priority)

    def exchange(line: Line, deadline: Deadline) -> Exchange[Any]:
        if not rows.texts:
            return Explanations((), rows.frame_index)
        explained = yield from explain_rows(
            rows, request, line, deadline, max_spans=max_spans, max_variants=max_variants
        )
        return explained[0] if rows.single else explained

    return Call(exchange, timeout_s)


@overload
def embed(  # type: ignore[overload-overlap]  # as in score
    texts: str,
    *,
    errors: Literal["raise"] = ...,
    truncation: Truncation = ...,
    priority: Priority = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[Embedding]: ...
@overload
def embed(
    texts: Iterable[str],
    *,
    errors: Literal["raise"] = ...,
    truncation: Truncation = ...,
    priority: Priority = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[Embeddings]: ...
@overload
def embed(
    texts: Iterable[str | None],
    *,
    errors: Literal["return"],
    truncation: Truncation = ...,
    priority: Priority = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[PartialEmbeddings]: ...
def embed(
    texts: str | Iterable[Any],
    *,
    errors: Errors = "raise",
    truncation: Truncation = "head",
    priority: Priority = "live",
    timings: bool = False,
    timeout_s: float | None = None,
) -> Call[Any]:
    """Turn a text, or many, into the vector that the model classifies it by.

    Args:
        texts: as ``score`` takes them.
        errors: as ``score`` takes it.
        truncation: as ``score`` takes it, but for "split".
        priority: as ``score`` takes it.
        timings: as ``score`` takes it.
        timeout_s: seconds for the whole call; the client's own where None.

    Returns:
        An ``Embedding`` for one str, ``Embeddings`` in the given order for more; where
        errors are returned ``PartialEmbeddings``, with a ``Rejection`` for each bad text.

    Raises:
        BadRequest: lists every bad text by its row.
        ModelNotReady: what is served was exported without ``--embedding``.
        ClientError: see the class.
    """
    if returns_errors(errors, single=isinstance(texts, str), thing="text"):

        def ask(some: Sequence[Any]) -> Call[Embeddings]:
            return embed(some, truncation=truncation, priority=priority, timings=timings)

        return _good_texts_call(texts, ask, PartialEmbeddings, timeout_s=timeout_s)
    rows = read_texts(texts)
    request = embedding_request(rows, truncation).in_lane(priority).timed(timings)
    return _rows_call(
        request,
        lambda reply: read_embeddings(reply, rows),
        empty=Embeddings((), rows.frame_index),
        single=rows.single,
        timeout_s=timeout_s,
    )


@overload
def forecast(
    prices: History,
    *,
    errors: Literal["raise"] = ...,
    sentiment_state: SentimentState | None = ...,
    elapsed_s: float = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[Forecast]: ...
@overload
def forecast(
    prices: Histories,
    *,
    errors: Literal["raise"] = ...,
    sentiment_state: SentimentState | Sequence[SentimentState] | None = ...,
    elapsed_s: float | Sequence[float] = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[Forecasts]: ...
@overload
def forecast(
    prices: Histories | npt.NDArray[Any],
    *,
    errors: Literal["return"],
    sentiment_state: SentimentState | Sequence[SentimentState] | None = ...,
    elapsed_s: float | Sequence[float] = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[PartialForecasts]: ...
@overload
def forecast(  # numpy's types do not say how many axes an array has
    prices: npt.NDArray[Any],
    *,
    errors: Literal["raise"] = ...,
    sentiment_state: SentimentState | Sequence[SentimentState] | None = ...,
    elapsed_s: float | Sequence[float] = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[Any]: ...
def forecast(
    prices: object,
    *,
    errors: Errors = "raise",
    sentiment_state: SentimentState | Sequence[SentimentState] | None = None,
    elapsed_s: float | Sequence[float] = 0.0,
    timings: bool = False,
    timeout_s: float | None = None,
) -> Call[Any]:
    """Forecast the price of a symbol, or of many.

    Args:
        prices: closes, > 0, oldest first, NaN for a missing bar: 1-D for one symbol;
            for many, rows of closes, a mapping of symbol to closes, or a DataFrame
            with a column a symbol.  The last 64 are read; fewer will do.
        errors: as ``score`` takes it; a symbol whose closes are bad is a bad row.
        sentiment_state: the news so far, as ``market_view`` last returned it: one for
            all rows, or one a row.  None: no news.
        elapsed_s: seconds since that state, >= 0: one number, or one a row.
        timings: as ``score`` takes it.
        timeout_s: seconds for the whole call; the client's own where None.

    Returns:
        A ``Forecast`` for one symbol, ``Forecasts`` in the given order for more; where
        errors are returned ``PartialForecasts``, with a ``Rejection`` for each bad row.

    Raises:
        BadRequest: lists every bad row.
        ClientError: see the class.
    """
    histories = split_prices(prices)
    partial = returns_errors(errors, single=histories.single, thing="history")
    count = len(histories.rows)
    states = read_states(sentiment_state, rows=count)
    elapsed = read_elapsed(elapsed_s, rows=count)

    def ask(places: Sequence[int]) -> Call[Any]:
        rows = cut_windows(histories.take(places))
        chosen = list(places)
        request = forecast_request(rows, states[chosen], elapsed[chosen]).timed(timings)
        return _rows_call(
            request,
            lambda reply: read_forecasts(reply, rows),
            empty=Forecasts(()),
            single=histories.single,
            timeout_s=timeout_s,
        )

    if not partial:
        return ask(range(count))
    return _good_rows_call(
        count, ask, PartialForecasts, histories.symbols, timeout_s=timeout_s
    )


@overload
def market_view(  # type: ignore[overload-overlap]  # as in score
    text: str,
    prices: History | npt.NDArray[Any],
    *,
    errors: Literal["raise"] = ...,
    sentiment_state: SentimentState | None = ...,
    elapsed_s: float = ...,
    truncation: Truncation = ...,
    priority: Priority = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[MarketView]: ...
@overload
def market_view(
    text: Iterable[str],
    prices: Histories | npt.NDArray[Any],
    *,
    errors: Literal["raise"] = ...,
    sentiment_state: SentimentState | Sequence[SentimentState] | None = ...,
    elapsed_s: float | Sequence[float] = ...,
    truncation: Truncation = ...,
    priority: Priority = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[MarketViews]: ...
@overload
def market_view(
    text: Iterable[str | None],
    prices: Histories | npt.NDArray[Any],
    *,
    errors: Literal["return"],
    sentiment_state: SentimentState | Sequence[SentimentState] | None = ...,
    elapsed_s: float | Sequence[float] = ...,
    truncation: Truncation = ...,
    priority: Priority = ...,
    timings: bool = ...,
    timeout_s: float | None = ...,
) -> Call[PartialMarketViews]: ...
def market_view(
    text: str | Iterable[Any],
    prices: object,
    *,
    errors: Errors = "raise",
    sentiment_state: SentimentState | Sequence[SentimentState] | None = None,
    elapsed_s: float | Sequence[float] = 0.0,
    truncation: Truncation = "head",
    priority: Priority = "live",
    timings: bool = False,
    timeout_s: float | None = None,
) -> Call[Any]:
    """Score a text and forecast the price it is about, in one call.

    Args:
        text: as ``score`` takes it.
        prices: as ``forecast`` takes it: one history for one text, else one a text.
        errors: as ``score`` takes it; a row is bad whose text or closes are.
        sentiment_state: as ``forecast`` takes it; the news before this text.
        elapsed_s: seconds from that state to this text, >= 0.
        truncation: as ``score`` takes it, but for "split".
        priority: as ``score`` takes it.
        timings: as ``score`` takes it.
        timeout_s: seconds for the whole call; the client's own where None.

    Returns:
        A ``MarketView`` for one text, ``MarketViews`` in the given order for more; where
        errors are returned ``PartialMarketViews``, with a ``Rejection`` for each bad row.

    Raises:
        BadRequest: not one history a text; or lists every bad row and field.
        ClientError: see the class.
    """
    histories = split_prices(prices)
    partial = returns_errors(errors, single=isinstance(text, str), thing="text")
    values: Sequence[Any] = [text] if isinstance(text, str) else listed(text)
    count = len(values)
    if count != len(histories.rows):
        raise BadRequest(
            f"prices: expected one price history a text ({count} of them), found "
            f"{len(histories.rows)}.  Repeat the one that several texts are about; of "
            "a DataFrame each column is a symbol's, so pass df['close'] for one."
        )
    states = read_states(sentiment_state, rows=count)
    elapsed = read_elapsed(elapsed_s, rows=count)
    labels = index_of(text)

    def ask(places: Sequence[int]) -> Call[Any]:
        chosen = list(places)
        texts = read_texts([values[place] for place in chosen])
        windows = cut_windows(histories.take(chosen))
        request = market_view_request(
            texts, windows, states[chosen], elapsed[chosen], truncation
        )
        return _rows_call(
            request.in_lane(priority).timed(timings),
            lambda reply: MarketViews(
                read_market_views(reply, texts, windows).rows, None if partial else labels
            ),
            empty=MarketViews((), labels),
            single=isinstance(text, str),
            timeout_s=timeout_s,
        )

    if not partial:
        return ask(range(count))
    return _good_rows_call(count, ask, PartialMarketViews, labels, timeout_s=timeout_s)


def _rows_call(
    request: Request,
    read: Callable[[Reply], Sequence[Any]],
    *,
    empty: Sequence[Any],
    single: bool,
    timeout_s: float | None,
) -> Call[Any]:
    """Send rows, and read them as one result or several; no rows are not sent."""

    def exchange(line: Line, deadline: Deadline) -> Exchange[Any]:
        if not request.rows:
            return empty
        results = read((yield from infer_all(line, request, deadline)))
        return results[0] if single else results

    return Call(exchange, timeout_s)


def _good_texts_call(
    texts: Iterable[Any],
    ask: Callable[[Sequence[Any]], Call[Any]],
    partial: Callable[[tuple[Any, ...], Any], T],
    *,
    timeout_s: float | None,
) -> Call[T]:
    """Ask about the good ones of several texts; see ``_good_rows_call``."""
    values = listed(texts)

    def ask_some(places: Sequence[int]) -> Call[Any]:
        return ask([values[place] for place in places])

    return _good_rows_call(
        len(values), ask_some, partial, index_of(texts), timeout_s=timeout_s
    )


def _good_rows_call(
    count: int,
    ask: Callable[[Sequence[int]], Call[Any]],
    partial: Callable[[tuple[Any, ...], Any], T],
    labels: Any,
    *,
    timeout_s: float | None,
) -> Call[T]:
    """Ask about the good rows, with each bad one's reason in its place.

    Args:
        count: R, of the rows that the caller passed.
        ask: describes the call about those at some places.
        partial: makes the result of R results or rejections, and ``labels``.
        labels: of the rows, as the result keeps them.
        timeout_s: of the whole call.
    """

    def exchange(line: Line, deadline: Deadline) -> Exchange[T]:
        return partial((yield from ask_good_rows(count, ask, line, deadline)), labels)

    return Call(exchange, timeout_s)
