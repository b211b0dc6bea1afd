"""The StockNet protocol, as published and without its filter of small moves.

A day's label is the move of the adjusted close from the day before: up from 0.55 % on,
down below -0.5 %, and what lies between is dropped.  Which days are dropped is known only
afterwards, so a score on what is left says nothing of a day to come; without the filter,
every day that moved counts.  Nobody sees the day itself: the window ends with the close
of the day before, and the news with that close.

Source:
    Xu and Cohen, "Stock movement prediction from tweets and historical prices", ACL 2018,
    section 5; dates and thresholds as in their code, yumoxu/stocknet-code, config.yml and
    DataPipe.py.  That code further keeps only days with a tweet on each of the days before;
    this does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
import numpy.typing as npt
import pandas as pd
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from megatick_server.forecast import Forecaster
from megatick_training.errors import EvaluationError
from megatick_training.evaluation.metrics import Direction, direction
from megatick_training.forecasting.candidates import SENTIMENT
from megatick_training.forecasting.sample import Sample, make_sample
from megatick_training.forecasting.windows import Windows

BoolArray = npt.NDArray[np.bool_]
Float64Array = npt.NDArray[np.float64]
Part = Literal["train", "dev", "test"]

PERIODS: Final[dict[Part, tuple[str, str]]] = {
    "train": ("2014-01-01", "2015-08-01"),
    "dev": ("2015-08-01", "2015-10-01"),
    "test": ("2015-10-01", "2016-01-01"),
}
"""Days that are labelled; the end is exclusive."""

DOWN_BELOW: Final = -0.005
UP_FROM: Final = 0.0055


@dataclass(frozen=True)
class StockNetScore:
    """How one predictor did on one set of labelled days.

    Attributes:
        days: ``as published``, or ``every day that moved``.
        predictor: whose calls.
        labelled: days with a label.
        up_share: share of them that went up.
        direction: of the calls.
    """

    days: str
    predictor: str
    labelled: int
    up_share: float
    direction: Direction


def judge_stocknet(
    forecaster: Forecaster, windows: Windows, *, part: Part = "dev", news: bool = False
) -> tuple[StockNetScore, ...]:
    """Judge a forecaster and simple predictors by the protocol.

    The logistic regressions are fitted on the protocol's training days, with the same
    label rule, on the features that the server knows.

    Args:
        forecaster: judged by its P(up) at one bar.
        windows: of the data set's adjusted closes; a row's target is the day after it.
        part: which days to judge.
        news: whether the windows carry a sentiment state.

    Raises:
        EvaluationError: no day of a period is there.
    """
    sample = make_sample(windows, half_life_s=forecaster.half_life_s)
    days = sample.windows.until[:, 0]
    moves = np.expm1(sample.windows.returns[:, 0])
    judged = _within(days, part)
    scores = []
    for name, labelled in (
        ("as published", (moves < DOWN_BELOW) | (moves >= UP_FROM)),
        ("every day that moved", moves != 0),
    ):
        rows, train = judged & labelled, _within(days, "train") & labelled
        for predictor, p_up in _predictors(
            forecaster, sample, moves > 0, train=train, rows=rows, news=news
        ).items():
            scores.append(
                StockNetScore(
                    days=name,
                    predictor=predictor,
                    labelled=int(rows.sum()),
                    up_share=float((moves[rows] > 0).mean()),
                    direction=direction(p_up, moves[rows], days[rows], horizon=1),
                )
            )
    return tuple(scores)


def scores_table(scores: tuple[StockNetScore, ...]) -> pd.DataFrame:
    """One row a set of days and predictor."""
    return pd.DataFrame(
        [
            {
                "days": each.days,
                "labelled": each.labelled,
                "up": each.up_share,
                "predictor": each.predictor,
                "calls": each.direction.calls,
                "accuracy": each.direction.accuracy,
                "± SE": each.direction.accuracy_se,
                "MCC": each.direction.mcc,
                "± SE of MCC": each.direction.mcc_se,
            }
            for each in scores
        ]
    )


def _predictors(
    forecaster: Forecaster,
    sample: Sample,
    rose: BoolArray,
    *,
    train: BoolArray,
    rows: BoolArray,
    news: bool,
) -> dict[str, Float64Array]:
    """P(up) of each predictor on the rows."""
    seen = sample.windows.take(rows)
    said = forecaster.forecast(seen.closes, seen.state, seen.elapsed_s)
    prices = [name for name in sample.features if name not in SENTIMENT]
    learnt = {"logistic regression on prices": prices}
    if news:
        learnt["logistic regression on prices and news"] = [*prices, *SENTIMENT]
    return {
        "always up": np.ones(int(rows.sum())),
        "the forecaster": said.p_up[:, 0].astype(np.float64),
    } | {
        name: _logistic(sample, features, rose, train=train, rows=rows)
        for name, features in learnt.items()
    }


def _logistic(
    sample: Sample,
    features: list[str],
    rose: BoolArray,
    *,
    train: BoolArray,
    rows: BoolArray,
) -> Float64Array:
    table = np.stack([sample.features[name] for name in features], axis=1)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(table[train], rose[train])
    p_up: Float64Array = model.predict_proba(table[rows])[:, 1]
    return p_up


def _within(days: npt.NDArray[np.datetime64], part: Part) -> BoolArray:
    start, end = map(np.datetime64, PERIODS[part])
    inside: BoolArray = (days >= start) & (days < end)
    if not inside.any():
        raise EvaluationError(
            f"StockNet's {part} days", f"some from {start} to before {end}", "none"
        )
    return inside
