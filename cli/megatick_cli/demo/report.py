"""What the demo saw, as a table for people and as JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from rich.table import Table
from rich.text import Text

from megatick_cli.demo.sample import AS_OF, Sample
from megatick_cli.labels import coloured
from megatick_client import MarketView
from megatick_contract.repository import RECEIPT_FILE

COVERAGE: Final = 0.9


@dataclass(frozen=True)
class Answer:
    """One question and what came back.

    Attributes:
        sample: the question.
        view: the reply.
        latency_ms: from call to result, as the client saw it.
    """

    sample: Sample
    view: MarketView
    latency_ms: float

    def band(self, horizon: int, *, baseline: bool = False) -> tuple[float, float]:
        """Outer quantiles of the log return at the horizon of this index."""
        forecast = self.view.forecast
        table = forecast.baseline_quantiles if baseline else forecast.quantiles
        low = _index_of(forecast.levels, (1 - COVERAGE) / 2)
        high = _index_of(forecast.levels, (1 + COVERAGE) / 2)
        return float(table[horizon, low]), float(table[horizon, high])

    def inside(self, horizon: int) -> bool:
        """Whether the return that followed fell into the band."""
        bars = self.view.forecast.horizons_bars[horizon]
        low, high = self.band(horizon)
        return low <= self.sample.realised_return(bars) <= high


def table(answers: Sequence[Answer]) -> Table:
    """The table that a person reads."""
    horizons = answers[0].view.forecast.horizons_bars
    shown = Table(
        title=f"What the server answered, as of {AS_OF}",
        title_justify="left",
        caption=f"Per horizon: the {COVERAGE:.0%} interval of the price move in %, and "
        "below it the random walk's.",
        caption_justify="left",
        header_style="bold",
        row_styles=["", ""],
        padding=(0, 1),
    )
    shown.add_column("")
    shown.add_column("headline", ratio=1)
    shown.add_column("label")
    shown.add_column("score", justify="right")
    for bars in horizons:
        days = f"{bars} day{'s' if bars > 1 else ''}"
        shown.add_column(days, justify="right", no_wrap=True)
    shown.add_column("ms", justify="right")
    for answer in answers:
        sentiment = answer.view.sentiment
        shown.add_row(
            answer.sample.symbol,
            sentiment.text,
            coloured(sentiment.label),
            f"{sentiment.score:+.2f}",
            *(_cell(answer, index) for index in range(len(horizons))),
            f"{answer.latency_ms:.0f}",
        )
    return shown


def verdict(answers: Sequence[Answer]) -> str:
    """What the forecasts are worth, in a few sentences."""
    forecast = answers[0].view.forecast
    horizons = range(len(forecast.horizons_bars))
    inside = sum(answer.inside(index) for answer in answers for index in horizons)
    moves = len(answers) * len(horizons)
    with_edge = [
        str(bars)
        for bars, edge in zip(forecast.horizons_bars, forecast.edge, strict=True)
        if edge
    ]
    edge = (
        f"The forecaster beat the random walk at {', '.join(with_edge)} days in its last "
        "evaluation."
        if with_edge
        else "The forecaster claims no edge over the random walk."
    )
    if all(
        np.array_equal(each.view.forecast.quantiles, each.view.forecast.baseline_quantiles)
        for each in answers
    ):
        edge += "  Its intervals are the random walk's."
    return f"{edge}  {inside} of the {moves} moves that followed fell inside theirs."


def write_json(
    path: Path, answers: Sequence[Answer], *, repository: Path, seconds: dict[str, float]
) -> None:
    """Write the same values, where the receipt is, and how long each stage took."""
    document = {
        "as_of": AS_OF,
        "receipt": str(repository / RECEIPT_FILE),
        "seconds": {name: round(value, 2) for name, value in seconds.items()},
        "answers": [_as_json(answer) for answer in answers],
    }
    path.write_text(json.dumps(document, indent=2) + "\n")


def _as_json(answer: Answer) -> dict[str, Any]:
    sentiment, forecast = answer.view.sentiment, answer.view.forecast
    return {
        "symbol": answer.sample.symbol,
        "headline": sentiment.text,
        "label": sentiment.label,
        "score": sentiment.score,
        "probabilities": asdict(sentiment.probabilities),
        "tokens": sentiment.tokens,
        "last_close": forecast.last_price,
        "latency_ms": round(answer.latency_ms, 3),
        "horizons": [
            {
                "bars": bars,
                "edge": bool(forecast.edge[index]),
                "p_up": float(forecast.p_up[index]),
                "interval_log_return": answer.band(index),
                "random_walk_log_return": answer.band(index, baseline=True),
                "realised_log_return": answer.sample.realised_return(bars),
            }
            for index, bars in enumerate(forecast.horizons_bars)
        ],
    }


def _cell(answer: Answer, horizon: int) -> Text:
    own, walk = answer.band(horizon), answer.band(horizon, baseline=True)
    return Text.assemble(_percent(own), "\n", (_percent(walk), "dim"))


def _percent(band: tuple[float, float]) -> str:
    low, high = np.expm1(band) * 100
    return f"{low:+.1f} {high:+.1f}"


def _index_of(levels: Sequence[float] | npt.NDArray[np.floating[Any]], level: float) -> int:
    return int(np.argmin(np.abs(np.asarray(levels) - level)))
