"""Recorded replies beside what a server answers to the same inputs now.

A market view is proven link by link.  Its text gives the score, which may move with its
batch.  The score and the state before it give the state after it, and that and the prices
give the forecast: both by arithmetic in float32, from values that the record itself holds,
so they come out the same whatever the score does now.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np
import numpy.typing as npt

from megatick_client import SentimentState
from megatick_contract.prices import (
    BASELINE_QUANTILES,
    ELAPSED_S,
    NEXT_SENTIMENT_STATE,
    P_UP,
    PRICES,
    QUANTILES,
    SENTIMENT_STATE,
)
from megatick_contract.text import PROBABILITIES, SCORE, TEXT
from megatick_server.sentiment import add_score, decay

if TYPE_CHECKING:
    from megatick_cli.audit_inputs import KnownInputs
    from megatick_client import Client, Forecast, Sentiment

_T = TypeVar("_T")

_TOGETHER: Final = 256  # rows a call
_FORECAST: Final = (QUANTILES.name, P_UP.name, BASELINE_QUANTILES.name)

EXACT: Final = 1e-6
"""How far a state or a forecast may be from the recorded one, of a value beyond 1 relative
to it: some roundings of float32, since another processor may round otherwise."""


@dataclass(frozen=True)
class Compared:
    """One row of a record, and the same now.

    Attributes:
        where: the request's id, and its record's time, UTC.
        row: of the request.
        output: the tensor in which they differ most.
        recorded: its value then.
        now: its value now.
        difference: of these two; of a value beyond 1, relative to it.
    """

    where: str
    row: int
    output: str
    recorded: str
    now: str
    difference: float


@dataclass(frozen=True)
class Part:
    """The scores, the states or the forecasts of all records.

    Attributes:
        compared: rows whose inputs were there.
        unmatched: rows whose inputs were not.
    """

    compared: tuple[Compared, ...]
    unmatched: int


@dataclass(frozen=True)
class Replayed:
    """What a replay found.

    Attributes:
        scores: as far as the texts are known.
        states: those after a text, as far as the ones before it are known.
        forecasts: as far as prices and states are known.
        digest: SHA-256 of what answers now, in hex; empty if nothing was asked.
        other_digests: of what answered then, where it is another.
    """

    scores: Part
    states: Part
    forecasts: Part
    digest: str
    other_digests: frozenset[str]


@dataclass(frozen=True)
class _Row:
    """A row of a reply: HMACs by input, and values by output."""

    record: Mapping[str, Any]
    inputs: Mapping[str, Sequence[str]]
    row: int

    @property
    def outputs(self) -> dict[str, Any]:
        found = self.record["outputs"].items()
        return {name: values[self.row] for name, values in found}

    def has(self, *outputs: str) -> bool:
        """Whether the reply had one of these."""
        return not self.record["outputs"].keys().isdisjoint(outputs)


def replay_records(
    records: Iterable[Mapping[str, Any]], known: KnownInputs, client: Client
) -> Replayed:
    """Ask again what was asked.

    Args:
        records: of an audit log.
        known: among which their inputs are looked for; the states that the records hold
            themselves are added.
        client: of the server that answers now.
    """
    rows = _rows(list(records))
    for row in rows:
        if row.has(NEXT_SENTIMENT_STATE.name):
            state = row.outputs[NEXT_SENTIMENT_STATE.name]
            known.add(SENTIMENT_STATE.name, np.array(state, np.float32))
    scored = [row for row in rows if row.has(PROBABILITIES.name, SCORE.name)]
    viewed = [row for row in rows if row.has(NEXT_SENTIMENT_STATE.name)]
    foreseen = [row for row in rows if row.has(*_FORECAST)]
    sentiments = _score(scored, known, client)
    forecasts = _forecast(foreseen, known, client)
    states = _next_states(viewed, known, client) if viewed else []
    replies = [now.reply for _, now in sentiments] + [now.reply for _, now in forecasts]
    digest = replies[0].model_digest if replies else ""
    digests = {row.record["model_digest"] for row, _ in (*sentiments, *forecasts)}
    return Replayed(
        scores=_part(scored, [(row, _of_sentiment(row, now)) for row, now in sentiments]),
        states=_part(viewed, states),
        forecasts=_part(foreseen, [(row, _of_forecast(now)) for row, now in forecasts]),
        digest=digest,
        other_digests=frozenset(digests - {digest}),
    )


def _rows(records: Sequence[Mapping[str, Any]]) -> list[_Row]:
    """The rows of all replies that hold values."""
    # Behind a TensorRT engine one step saw the text and another gave the scores.
    asked_as = {
        record["request_id"]: record["inputs"]
        for record in records
        if TEXT.name in record.get("inputs", ()) and record["request_id"]
    }
    return [
        _Row(record, record["inputs"] or asked_as.get(record["request_id"], {}), row)
        for record in records
        if record.get("outputs")
        for row in range(len(next(iter(record["outputs"].values()))))
    ]


def _batches(rows: Sequence[_T]) -> Iterator[Sequence[_T]]:
    for start in range(0, len(rows), _TOGETHER):
        yield rows[start : start + _TOGETHER]


def _score(
    rows: Sequence[_Row], known: KnownInputs, client: Client
) -> list[tuple[_Row, Sentiment]]:
    """Score the texts that are known."""
    found = [
        (row, text[0].decode())
        for row in rows
        if (text := known.find(TEXT.name, row.inputs, row.row)) is not None
    ]
    found.sort(key=lambda pair: pair[0].record["truncation"])
    answered: list[tuple[_Row, Sentiment]] = []
    for truncation, group in itertools.groupby(
        found, lambda pair: pair[0].record["truncation"]
    ):
        for some in _batches(list(group)):
            answers = client.score(
                [text for _, text in some],
                truncation=truncation,
                priority="backfill",
                timings=True,
            )
            answered += zip((row for row, _ in some), answers, strict=True)
    return answered


def _forecast(
    rows: Sequence[_Row], known: KnownInputs, client: Client
) -> list[tuple[_Row, Forecast]]:
    """Forecast from the prices that are known, and the state of then."""
    found = [
        (row, prices, *seen)
        for row in rows
        if (prices := known.find(PRICES.name, row.inputs, row.row)) is not None
        and (seen := _state_of(row, known)) is not None
    ]
    answered: list[tuple[_Row, Forecast]] = []
    for some in _batches(found):
        answers = client.forecast(
            [prices for _, prices, _, _ in some],
            sentiment_state=[state for _, _, state, _ in some],
            elapsed_s=[elapsed_s for *_, elapsed_s in some],
            timings=True,
        )
        answered += zip((row for row, *_ in some), answers, strict=True)
    return answered


def _state_of(row: _Row, known: KnownInputs) -> tuple[SentimentState, float] | None:
    """The state that a forecast was made from and its age in seconds, where known."""
    if row.has(NEXT_SENTIMENT_STATE.name):  # a text's own
        return SentimentState(*row.outputs[NEXT_SENTIMENT_STATE.name]), 0.0
    if TEXT.name in row.inputs:
        return None
    state = known.find(SENTIMENT_STATE.name, row.inputs, row.row)
    elapsed_s = known.find(ELAPSED_S.name, row.inputs, row.row)
    if state is None or elapsed_s is None:
        return None
    return SentimentState(*state.tolist()), elapsed_s.item()


def _next_states(
    rows: Sequence[_Row], known: KnownInputs, client: Client
) -> list[tuple[_Row, dict[str, Any]]]:
    """The states after the recorded scores, where those before them are known."""
    half_life_s = client.forecast([1.0, 1.0]).half_life_s  # of whatever prices
    found = []
    for row in rows:
        state = known.find(SENTIMENT_STATE.name, row.inputs, row.row)
        elapsed_s = known.find(ELAPSED_S.name, row.inputs, row.row)
        if state is None or elapsed_s is None or not row.has(SCORE.name):
            continue
        aged = decay(state[None], elapsed_s[None], half_life_s=half_life_s)
        score = np.array([row.outputs[SCORE.name]], np.float32)
        found.append((row, {NEXT_SENTIMENT_STATE.name: add_score(aged, score)[0]}))
    return found


def _of_sentiment(row: _Row, now: Sentiment) -> dict[str, Any]:
    """Probabilities, where the reply had them; else the score."""
    if row.has(PROBABILITIES.name):
        return {PROBABILITIES.name: astuple(now.probabilities)}
    return {SCORE.name: now.score}


def _of_forecast(now: Forecast) -> dict[str, Any]:
    return dict(
        zip(_FORECAST, (now.quantiles, now.p_up, now.baseline_quantiles), strict=True)
    )


def _part(rows: Sequence[_Row], now: Sequence[tuple[_Row, dict[str, Any]]]) -> Part:
    compared = tuple(_compared(row, outputs) for row, outputs in now)
    return Part(compared, len(rows) - len(compared))


def _compared(row: _Row, now: Mapping[str, Any]) -> Compared:
    recorded = row.outputs
    at_utc = np.datetime64(row.record["time_ns"], "ns")
    where = f"request {row.record['request_id'] or '(unnamed)'} of {at_utc}Z"
    found = [
        Compared(where, row.row, name, *_furthest(recorded[name], now[name]))
        for name in now
        if name in recorded
    ]
    return max(found, key=lambda each: each.difference)


def _furthest(recorded: npt.ArrayLike, now: npt.ArrayLike) -> tuple[str, str, float]:
    """Of two tensors the values that differ most, and by how much."""
    then, again = (np.asarray(each, np.float64).ravel() for each in (recorded, now))
    if len(then) != len(again):  # a forecaster of other horizons or levels
        return f"{len(then)} values", f"{len(again)}", float("inf")
    differences = np.abs(then - again) / np.maximum(1, np.abs(then))
    worst = differences.argmax()
    return f"{then[worst]:.8g}", f"{again[worst]:.8g}", float(differences[worst])
