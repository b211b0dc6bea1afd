"""The Python client of a Megatick server: sentiment and price forecasts over gRPC.

    from megatick_client import Client

    with Client("127.0.0.1:8001") as client:
        news = client.score("Acme raises its full-year guidance")
        print(news.label, news.score)

Every call has a deadline, every result is a frozen dataclass with ``to_frame()``, and
every error is a ``ClientError`` whose class says what to do about it.
"""

from megatick_client.async_client import AsyncClient
from megatick_client.client import Client
from megatick_client.embeddings import Embedding, Embeddings, PartialEmbeddings
from megatick_client.errors import (
    BadRequest,
    ClientClosed,
    ClientError,
    DeadlineExceeded,
    LookAhead,
    ModelNotReady,
    Overloaded,
    ServerError,
    ServerUnavailable,
    Unauthenticated,
)
from megatick_client.explanations import Evidence, Explanation, Explanations
from megatick_client.forecasts import Forecast, Forecasts, Interval, PartialForecasts
from megatick_client.health import Health, ModelStatus, ServerHealth, ServerMetadata
from megatick_client.hedging import Hedging
from megatick_client.market_views import MarketView, MarketViews, PartialMarketViews
from megatick_client.replies import ReplyInfo
from megatick_client.retries import NO_RETRIES, Retries
from megatick_client.sentiment_states import SentimentState
from megatick_client.sentiments import (
    PartialSentiments,
    Probabilities,
    Sentiment,
    Sentiments,
)
from megatick_client.streams import Gap, Stream, StreamReply
from megatick_client.symbol_book import BookView, SymbolBook
from megatick_client.tls import Tls
from megatick_contract import Rejection

__all__ = [
    "NO_RETRIES",
    "AsyncClient",
    "BadRequest",
    "BookView",
    "Client",
    "ClientClosed",
    "ClientError",
    "DeadlineExceeded",
    "Embedding",
    "Embeddings",
    "Evidence",
    "Explanation",
    "Explanations",
    "Forecast",
    "Forecasts",
    "Gap",
    "Health",
    "Hedging",
    "Interval",
    "LookAhead",
    "MarketView",
    "MarketViews",
    "ModelNotReady",
    "ModelStatus",
    "Overloaded",
    "PartialEmbeddings",
    "PartialForecasts",
    "PartialMarketViews",
    "PartialSentiments",
    "Probabilities",
    "Rejection",
    "ReplyInfo",
    "Retries",
    "Sentiment",
    "SentimentState",
    "Sentiments",
    "ServerError",
    "ServerHealth",
    "ServerMetadata",
    "ServerUnavailable",
    "Stream",
    "StreamReply",
    "SymbolBook",
    "Tls",
    "Unauthenticated",
]
