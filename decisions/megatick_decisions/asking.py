"""What a running server says of texts and of prices; nothing else here talks to one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pandas as pd

from megatick_client import Client, Forecasts
from megatick_client.sentiment_states import states_of
from megatick_contract import HORIZONS_BARS, WINDOW_BARS, Rejection
from megatick_decisions.errors import ForecastError
from megatick_decisions.one_model import OneModel
from megatick_decisions.scenarios import PastForecasts
from megatick_training.forecasting.news import News, states_at
from megatick_training.forecasting.windows import make_windows
from megatick_training.times import naive

Float32Array = npt.NDArray[np.float32]
Float64Array = npt.NDArray[np.float64]

_BAR: Final = 1
"""The horizon at which misses are taken, and risk is tested."""

_TEXTS_A_CALL: Final = 256
_WINDOWS_A_CALL: Final = 2048


@dataclass(frozen=True, eq=False)
class Outlook:
    """The forecasts of n symbols; H horizons, Q levels.

    Attributes:
        symbols: n names.
        last_price: float64, shape (n,), each symbol's last close.
        last_at: n times in UTC, of that close.
        horizons_bars: H horizons, in bars after that close.
        levels: Q quantile levels, rising, in (0, 1).
        quantiles: float64, shape (n, H, Q), of the log return.
        baseline_quantiles: the same of a driftless random walk.
        p_up: float64, shape (n, H), P(log return > 0).
        edge: bool, shape (H,), whether the forecaster beat the random walk when it was
            last evaluated.
        edge_p_value: float64, shape (H,), of that test.
        half_life_s: seconds in which news loses half its weight.
        bar_s: seconds that a bar lasts for the forecaster.
    """

    symbols: tuple[str, ...]
    last_price: Float64Array
    last_at: pd.DatetimeIndex
    horizons_bars: tuple[int, ...]
    levels: tuple[float, ...]
    quantiles: Float64Array
    baseline_quantiles: Float64Array
    p_up: Float64Array
    edge: npt.NDArray[np.bool_]
    edge_p_value: Float64Array
    half_life_s: float
    bar_s: float

    @property
    def without_width(self) -> tuple[str, ...]:
        """Symbols whose forecasts have no width at any horizon, as closes stood still.

        It is volatility that gives a forecast width, and of 64 equal closes that is 0.
        """
        known = (self.quantiles[..., 0] == self.quantiles[..., -1]).all(axis=1)
        return tuple(np.array(self.symbols)[known].tolist())


def score_texts(
    client: Client,
    texts: Sequence[str],
    *,
    model: OneModel,
    progress: Callable[[int], None],
) -> dict[str, float]:
    """Score texts, as backfill: live calls of others go first.

    Args:
        client: of the server.
        texts: each once.
        model: that every answer must come from.
        progress: called with the number of texts done, after each call.

    Returns:
        The score of each, in [-1, 1]; a text that the server refuses is left out.

    Raises:
        AnotherModel: an answer is another model's.
        ClientError: the server could not be asked.
    """
    scores: dict[str, float] = {}
    for start in range(0, len(texts), _TEXTS_A_CALL):
        asked = list(texts[start : start + _TEXTS_A_CALL])
        found = client.score(asked, errors="return", priority="backfill", timings=True)
        model.check(row.reply for row in found if not isinstance(row, Rejection))
        told = zip(asked, found.scores.tolist(), strict=True)
        scores |= {text: score for text, score in told if np.isfinite(score)}
        progress(len(asked))
    return scores


def half_life_of(client: Client, *, model: OneModel) -> float:
    """Ask in how many seconds news loses half its weight, by a forecast of nothing much.

    Raises:
        AnotherModel: the answer is another model's.
        ClientError: the server could not be asked.
    """
    told = client.forecast([1.0, 1.0], timings=True)
    model.check([told.reply])
    return float(told.half_life_s)


def forecast_latest(
    client: Client,
    closes: pd.DataFrame,
    news: News,
    *,
    as_of: pd.Timestamp,
    half_life_s: float,
    model: OneModel,
) -> Outlook:
    """Forecast each symbol from its latest closes, and the news published before a moment.

    Args:
        client: of the server.
        closes: as ``read_closes`` gives them; every symbol has at least two.
        news: scored texts.
        as_of: in UTC, no earlier than the last close.
        half_life_s: as ``half_life_of`` gives it.
        model: that every answer must come from.

    Raises:
        AnotherModel: an answer is another model's.
        ClientError: the server could not be asked.
    """
    histories = [closes[symbol].dropna() for symbol in closes.columns]
    moment = naive(pd.DatetimeIndex([as_of]))
    states = [
        states_at(news.of(str(symbol)), moment, half_life_s=half_life_s)
        for symbol in closes.columns
    ]
    answers = _forecasts(
        client,
        [history.to_numpy()[-WINDOW_BARS:] for history in histories],
        np.concatenate([state for state, _ in states]),
        np.concatenate([elapsed_s for _, elapsed_s in states]),
        model,
    )
    first = answers[0]
    return Outlook(
        symbols=tuple(map(str, closes.columns)),
        last_price=np.array([history.iloc[-1] for history in histories]),
        last_at=pd.DatetimeIndex([history.index[-1] for history in histories]),
        horizons_bars=first.horizons_bars,
        levels=first.levels,
        quantiles=np.stack([each.quantiles for each in answers]).astype(np.float64),
        baseline_quantiles=np.stack([each.baseline_quantiles for each in answers]).astype(
            np.float64
        ),
        p_up=np.stack([each.p_up for each in answers]).astype(np.float64),
        edge=np.asarray(first.edge, np.bool_),
        edge_p_value=np.asarray(first.edge_p_value, np.float64),
        half_life_s=half_life_s,
        bar_s=first.bar_s,
    )


def forecast_past(
    client: Client,
    closes: pd.DataFrame,
    news: News,
    *,
    at: pd.DatetimeIndex,
    half_life_s: float,
    model: OneModel,
) -> PastForecasts:
    """Forecast one bar as it could have been asked for at closes gone by.

    Args:
        client: of the server.
        closes: as ``read_closes`` gives them, of the symbols to forecast.
        news: scored texts.
        at: UTC, rising, as ``forecast_bars`` gives them for all of these symbols.
        half_life_s: as ``half_life_of`` gives it.
        model: that every answer must come from.

    Raises:
        ForecastError: the forecaster has no horizon of one bar.
        AnotherModel: an answer is another model's.
        ClientError: the server could not be asked.
    """
    before = closes.loc[: at[0]]
    first = min(before[s].dropna().index[-WINDOW_BARS] for s in closes.columns)
    windows = make_windows(closes.loc[first:], news=news, half_life_s=half_life_s)
    windows = windows.take(pd.DatetimeIndex(windows.at, tz="UTC").isin(at))
    parts, baseline_parts = [], []
    for start in range(0, len(windows), _WINDOWS_A_CALL):
        rows = slice(start, start + _WINDOWS_A_CALL)
        answers = _forecasts(
            client,
            list(windows.closes[rows]),
            windows.state[rows],
            windows.elapsed_s[rows],
            model,
        )
        horizons = answers[0].horizons_bars
        if _BAR not in horizons:
            raise ForecastError("the forecaster's horizons", "one bar", f"{horizons}")
        horizon = horizons.index(_BAR)
        parts += [each.quantiles[horizon] for each in answers]
        baseline_parts += [each.baseline_quantiles[horizon] for each in answers]

    def by_bar(rows: npt.ArrayLike) -> Float64Array:  # they are by symbol, then by bar
        table = np.asarray(rows, np.float64)
        return table.reshape(closes.shape[1], len(at), *table.shape[1:]).swapaxes(0, 1)

    return PastForecasts(
        symbols=tuple(map(str, closes.columns)),
        at=at,
        quantiles=by_bar(parts),
        baseline_quantiles=by_bar(baseline_parts),
        returns=by_bar(windows.returns[:, HORIZONS_BARS.index(_BAR)]),
    )


def _forecasts(
    client: Client,
    histories: Sequence[npt.NDArray[Any]],
    states: Float32Array,
    elapsed_s: Float32Array,
    model: OneModel,
) -> Forecasts:
    found = client.forecast(
        histories,
        sentiment_state=states_of(states),
        elapsed_s=elapsed_s[:, 0].tolist(),
        timings=True,
    )
    model.check(each.reply for each in found)
    return found
