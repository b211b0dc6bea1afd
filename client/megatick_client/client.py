"""``Client``: texts and prices in, typed results out, over one gRPC channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Self, TypeAlias, overload

import numpy.typing as npt

from megatick_client.deadlines import Deadline
from megatick_client.embeddings import (
    Embedding,
    Embeddings,
    embedding_request,
    read_embeddings,
)
from megatick_client.errors import (
    BadRequest,
    DeadlineExceeded,
    ModelNotReady,
    ServerUnavailable,
)
from megatick_client.forecasts import (
    Forecast,
    Forecasts,
    forecast_request,
    read_forecasts,
)
from megatick_client.health import Health, ModelStatus
from megatick_client.market_views import (
    MarketView,
    MarketViews,
    market_view_request,
    read_market_views,
)
from megatick_client.price_windows import read_prices
from megatick_client.requests import Reply, Request
from megatick_client.sentiment_states import SentimentState, read_elapsed, read_states
from megatick_client.sentiments import (
    Sentiment,
    Sentiments,
    read_sentiments,
    sentiment_request,
)
from megatick_client.texts import read_texts
from megatick_client.transport import Transport
from megatick_contract import OPTIONAL_MODELS, PUBLIC_MODELS, Truncation
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

DEFAULT_ADDRESS: Final = "127.0.0.1:8001"  # 8001 is Triton's gRPC port
DEFAULT_TIMEOUT_S: Final = 5.0


class Client:
    """A connection to one Megatick server.

    Safe to share between threads.  It connects at the first call, keeps the connection,
    and makes a lost one anew.

        with Client("127.0.0.1:8001", timeout_s=0.5) as client:
            news = client.score(["Acme beats estimates", "Acme recalls its flagship"])
            news.to_frame()

    Args:
        address: ``HOST:PORT`` of the server's gRPC port.
        timeout_s: seconds that a call may take in all, unless the call itself says; a
            finite number > 0.

    Raises:
        BadRequest: the address or the timeout is no such thing.

    Every call raises a ``ClientError``: ``BadRequest`` for its arguments, the others for
    the server's state; ``megatick_client.errors`` draws the tree.
    """

    def __init__(
        self, address: str = DEFAULT_ADDRESS, *, timeout_s: float = DEFAULT_TIMEOUT_S
    ) -> None:
        self._timeout_s = Deadline.after(timeout_s).timeout_s
        self._transport = Transport(address)

    @property
    def address(self) -> str:
        """``HOST:PORT`` of the server."""
        return self._transport.address

    @overload
    def score(  # type: ignore[overload-overlap]  # a str is an iterable of str, too
        self,
        texts: str,
        *,
        truncation: Truncation = ...,
        priority: Priority = ...,
        timeout_s: float | None = ...,
    ) -> Sentiment: ...
    @overload
    def score(
        self,
        texts: Iterable[str],
        *,
        truncation: Truncation = ...,
        priority: Priority = ...,
        timeout_s: float | None = ...,
    ) -> Sentiments: ...
    def score(
        self,
        texts: str | Iterable[str],
        *,
        truncation: Truncation = "head",
        priority: Priority = "live",
        timeout_s: float | None = None,
    ) -> Sentiment | Sentiments:
        """Score the sentiment of a text, or of many.

        Args:
            texts: one str; or any number in a list, array or Series.  Each is not blank
                and at most 64 KiB of UTF-8.
            truncation: what becomes of a text longer than the model's window: keep its
                "head" or its "tail" (the result says ``truncated``), or "error".
            priority: "live", or "backfill", which the server computes only while no live
                text waits (in a server for TensorRT both are alike).
            timeout_s: seconds for the whole call; the client's own where None.

        Returns:
            A ``Sentiment`` for one str, ``Sentiments`` in the given order for more.

        Raises:
            BadRequest: lists every bad text by its row.
            ClientError: see the class.
        """
        rows = read_texts(texts)
        request = sentiment_request(rows, truncation).in_lane(priority)
        if not request.rows:
            return Sentiments((), rows.frame_index)
        results = read_sentiments(self._infer(request, timeout_s), rows)
        return results[0] if rows.single else results

    @overload
    def embed(  # type: ignore[overload-overlap]  # as in score
        self,
        texts: str,
        *,
        truncation: Truncation = ...,
        priority: Priority = ...,
        timeout_s: float | None = ...,
    ) -> Embedding: ...
    @overload
    def embed(
        self,
        texts: Iterable[str],
        *,
        truncation: Truncation = ...,
        priority: Priority = ...,
        timeout_s: float | None = ...,
    ) -> Embeddings: ...
    def embed(
        self,
        texts: str | Iterable[str],
        *,
        truncation: Truncation = "head",
        priority: Priority = "live",
        timeout_s: float | None = None,
    ) -> Embedding | Embeddings:
        """Turn a text, or many, into the vector that the model classifies it by.

        Args:
            texts: as ``score`` takes them.
            truncation: as ``score`` takes it.
            priority: as ``score`` takes it.
            timeout_s: seconds for the whole call; the client's own where None.

        Returns:
            An ``Embedding`` for one str, ``Embeddings`` in the given order for more.

        Raises:
            BadRequest: lists every bad text by its row.
            ModelNotReady: what is served was exported without ``--embedding``.
            ClientError: see the class.
        """
        rows = read_texts(texts)
        request = embedding_request(rows, truncation).in_lane(priority)
        if not request.rows:
            return Embeddings((), rows.frame_index)
        results = read_embeddings(self._infer(request, timeout_s), rows)
        return results[0] if rows.single else results

    @overload
    def forecast(
        self,
        prices: History,
        *,
        sentiment_state: SentimentState | None = ...,
        elapsed_s: float = ...,
        timeout_s: float | None = ...,
    ) -> Forecast: ...
    @overload
    def forecast(
        self,
        prices: Histories,
        *,
        sentiment_state: SentimentState | Sequence[SentimentState] | None = ...,
        elapsed_s: float | Sequence[float] = ...,
        timeout_s: float | None = ...,
    ) -> Forecasts: ...
    @overload
    def forecast(  # numpy's types do not say how many axes an array has
        self,
        prices: npt.NDArray[Any],
        *,
        sentiment_state: SentimentState | Sequence[SentimentState] | None = ...,
        elapsed_s: float | Sequence[float] = ...,
        timeout_s: float | None = ...,
    ) -> Any: ...
    def forecast(
        self,
        prices: object,
        *,
        sentiment_state: SentimentState | Sequence[SentimentState] | None = None,
        elapsed_s: float | Sequence[float] = 0.0,
        timeout_s: float | None = None,
    ) -> Forecast | Forecasts:
        """Forecast the price of a symbol, or of many.

        Args:
            prices: closes, > 0, oldest first, NaN for a missing bar: 1-D for one symbol;
                for many, rows of closes, a mapping of symbol to closes, or a DataFrame
                with a column a symbol.  The last 64 are read; fewer will do.
            sentiment_state: the news so far, as ``market_view`` last returned it: one for
                all rows, or one a row.  None: no news.
            elapsed_s: seconds since that state, >= 0: one number, or one a row.
            timeout_s: seconds for the whole call; the client's own where None.

        Returns:
            A ``Forecast`` for one symbol, ``Forecasts`` in the given order for more.

        Raises:
            BadRequest: lists every bad row.
            ClientError: see the class.
        """
        rows = read_prices(prices)
        count = len(rows.array)
        request = forecast_request(
            rows,
            read_states(sentiment_state, rows=count),
            read_elapsed(elapsed_s, rows=count),
        )
        if not request.rows:
            return Forecasts(())
        results = read_forecasts(self._infer(request, timeout_s), rows)
        return results[0] if rows.single else results

    @overload
    def market_view(  # type: ignore[overload-overlap]  # as in score
        self,
        text: str,
        prices: History | npt.NDArray[Any],
        *,
        sentiment_state: SentimentState | None = ...,
        elapsed_s: float = ...,
        truncation: Truncation = ...,
        priority: Priority = ...,
        timeout_s: float | None = ...,
    ) -> MarketView: ...
    @overload
    def market_view(
        self,
        text: Iterable[str],
        prices: Histories | npt.NDArray[Any],
        *,
        sentiment_state: SentimentState | Sequence[SentimentState] | None = ...,
        elapsed_s: float | Sequence[float] = ...,
        truncation: Truncation = ...,
        priority: Priority = ...,
        timeout_s: float | None = ...,
    ) -> MarketViews: ...
    def market_view(
        self,
        text: str | Iterable[str],
        prices: object,
        *,
        sentiment_state: SentimentState | Sequence[SentimentState] | None = None,
        elapsed_s: float | Sequence[float] = 0.0,
        truncation: Truncation = "head",
        priority: Priority = "live",
        timeout_s: float | None = None,
    ) -> MarketView | MarketViews:
        """Score a text and forecast the price it is about, in one call.

        Args:
            text: as ``score`` takes it.
            prices: as ``forecast`` takes it: one history for one text, else one a text.
            sentiment_state: as ``forecast`` takes it; the news before this text.
            elapsed_s: seconds from that state to this text, >= 0.
            truncation: as ``score`` takes it.
            priority: as ``score`` takes it.
            timeout_s: seconds for the whole call; the client's own where None.

        Returns:
            A ``MarketView`` for one text, ``MarketViews`` in the given order for more.

        Raises:
            BadRequest: not one history a text; or lists every bad row and field.
            ClientError: see the class.
        """
        texts, windows = read_texts(text), read_prices(prices)
        count = len(texts.texts)
        if count != len(windows.array):
            raise BadRequest(
                f"prices: expected one price history a text ({count} of them), found "
                f"{len(windows.array)}.  Repeat the one that several texts are about; of "
                "a DataFrame each column is a symbol's, so pass df['close'] for one."
            )
        request = market_view_request(
            texts,
            windows,
            read_states(sentiment_state, rows=count),
            read_elapsed(elapsed_s, rows=count),
            truncation,
        ).in_lane(priority)
        if not request.rows:
            return MarketViews((), texts.frame_index)
        reply = self._infer(request, timeout_s)
        results = read_market_views(reply, texts, windows)
        return results[0] if texts.single else results

    def health(self, *, timeout_s: float | None = None) -> Health:
        """Ask the server how it is; see ``is_ready`` for a plain yes or no.

        Raises:
            ServerUnavailable: nobody answers.
        """
        deadline = self._deadline(timeout_s)
        return Health(
            self.address,
            live=self._transport.is_live(deadline),
            ready=self._transport.is_ready(deadline),
        )

    def is_ready(self, *, timeout_s: float | None = None) -> bool:
        """Whether a server answers and has loaded all its models; raises for neither."""
        try:
            return self._transport.is_ready(self._deadline(timeout_s))
        except (DeadlineExceeded, ServerUnavailable):
            return False

    def models(self, *, timeout_s: float | None = None) -> tuple[ModelStatus, ...]:
        """List the public models, and which of them this server can answer for."""
        deadline = self._deadline(timeout_s)
        known = PUBLIC_MODELS + OPTIONAL_MODELS
        return tuple(self._model(model.name, deadline) for model in known)

    def close(self) -> None:
        """Drop the connection; later calls raise ``ClientClosed``."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Client({self.address!r}, timeout_s={self._timeout_s:g})"

    def _deadline(self, timeout_s: float | None) -> Deadline:
        return Deadline.after(self._timeout_s if timeout_s is None else timeout_s)

    def _model(self, name: str, deadline: Deadline) -> ModelStatus:
        try:
            versions = self._transport.model_versions(name, deadline)
        except ModelNotReady:
            return ModelStatus(name, ready=False, versions=())
        ready = self._transport.is_model_ready(name, deadline)
        return ModelStatus(name, ready, versions)

    def _infer(self, request: Request, timeout_s: float | None) -> Reply:
        """Send a request's chunks one after another, within one deadline.

        Refused chunks do not stop the rest: their rows are gathered, so that one error
        names every bad row of the call.
        """
        deadline = self._deadline(timeout_s)
        replies: list[Reply] = []
        refusals: list[tuple[int, BadRequest]] = []
        for start, chunk in request.chunks():
            try:
                replies.append(self._transport.infer(chunk, deadline))
            except BadRequest as error:
                if not error.rejections:
                    raise
                refusals.append((start, error))
        if refusals:
            raise BadRequest.joined(refusals, rows=request.rows) from refusals[0][1]
        return Reply.joined(replies)
