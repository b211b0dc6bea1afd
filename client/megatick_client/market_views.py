"""A text and a price history together: its sentiment, and the forecast it leads to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from megatick_client.forecasts import (
    FORECAST_OUTPUTS,
    Forecast,
    Forecasts,
    read_forecasts,
)
from megatick_client.price_windows import PriceRows
from megatick_client.replies import ReplyInfo
from megatick_client.requests import Array, Reply, Request
from megatick_client.rows import Partial, Rows
from megatick_client.sentiment_states import SentimentState, states_of
from megatick_client.sentiments import (
    SENTIMENT_OUTPUTS,
    Sentiment,
    Sentiments,
    read_sentiments,
)
from megatick_client.texts import TextRows, truncation_parameter
from megatick_contract import MARKET_VIEW, Tensor, Truncation
from megatick_contract.prices import (
    ELAPSED_S,
    NEXT_SENTIMENT_STATE,
    PRICES,
    SENTIMENT_STATE,
)
from megatick_contract.text import TEXT

if TYPE_CHECKING:
    import pandas as pd

_OUTPUTS: Final[tuple[Tensor, ...]] = (
    *SENTIMENT_OUTPUTS,
    *FORECAST_OUTPUTS,
    NEXT_SENTIMENT_STATE,
)


@dataclass(frozen=True, eq=False)
class MarketView:
    """What one text means for one symbol.

    Attributes:
        sentiment: of the text.
        forecast: of the price, knowing the text.
        next_sentiment_state: the symbol's news with this text in it; hand it back as
            ``sentiment_state`` with the next text, and the seconds until then as
            ``elapsed_s``.
    """

    sentiment: Sentiment
    forecast: Forecast
    next_sentiment_state: SentimentState

    @property
    def reply(self) -> ReplyInfo:
        """The request that brought it."""
        return self.sentiment.reply

    def to_frame(self) -> pd.DataFrame:
        """One row a horizon and level, with the columns of ``MarketViews.to_frame``."""
        return MarketViews((self,)).to_frame()


class MarketViews(Rows[MarketView]):
    """Views of several texts and symbols, in their order."""

    @property
    def sentiments(self) -> Sentiments:
        """The texts' sentiments alone."""
        return Sentiments(tuple(view.sentiment for view in self.rows), self.frame_index)

    @property
    def forecasts(self) -> Forecasts:
        """The symbols' forecasts alone."""
        return Forecasts(tuple(view.forecast for view in self.rows))

    @property
    def next_sentiment_states(self) -> tuple[SentimentState, ...]:
        """The states to hand back, one a row."""
        return tuple(view.next_sentiment_state for view in self.rows)

    def to_frame(self) -> pd.DataFrame:
        """One row a view, horizon and level.

        Returns:
            The columns of ``Forecasts.to_frame``, with text, label and score in front.
        """
        texts = Sentiments(self.sentiments.rows).to_frame()[["text", "label", "score"]]
        return texts.merge(
            self.forecasts.to_frame(), left_index=True, right_on="row"
        ).reset_index(drop=True)


class PartialMarketViews(Partial[MarketView]):
    """Of several texts and symbols, in their order: the view, or why it was refused."""

    def to_frame(self) -> pd.DataFrame:
        """One row a view, horizon and level, and one for what was refused.

        Returns:
            The columns of ``MarketViews.to_frame``, missing but for row where it was
            refused (``horizon_bars`` is Int64, which can be); and problem, which is
            missing for the others.
        """
        return self._lines_a_row(MarketViews)


def market_view_request(
    texts: TextRows,
    prices: PriceRows,
    states: Array,
    elapsed: Array,
    truncation: Truncation,
) -> Request:
    """Ask for the views of texts, each with the price window in its row."""
    return Request(
        MARKET_VIEW,
        inputs={
            TEXT: texts.array,
            PRICES: prices.array,
            SENTIMENT_STATE: states,
            ELAPSED_S: elapsed,
        },
        outputs=_OUTPUTS,
        parameters=truncation_parameter(truncation),
    )


def read_market_views(reply: Reply, texts: TextRows, prices: PriceRows) -> MarketViews:
    """Turn the reply for these texts and price windows into results."""
    columns = zip(
        read_sentiments(reply, texts),
        read_forecasts(reply, prices),
        states_of(reply[NEXT_SENTIMENT_STATE]),
        strict=True,
    )
    return MarketViews(
        tuple(MarketView(*view) for view in columns),
        texts.frame_index,
    )
