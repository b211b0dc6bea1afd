"""What a replay finds, with a client whose answers are arithmetic."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from megatick_cli.audit_inputs import KnownInputs
from megatick_cli.audit_replay import Replayed, replay_records
from megatick_client import Client, Forecast, Sentiment, SentimentState
from megatick_client.load.errors import InputError
from megatick_client.replies import ReplyInfo
from megatick_client.sentiments import Probabilities
from megatick_server.audit import AuditKey

KEY = AuditKey(b"0123456789abcdef" * 2)
HALF_LIFE_S = 100.0
NO_NEWS = SentimentState()
BEFORE = [0.5, 1.0, 0.5, 1.0]
AFTER = [0.5, 1.5, 0.25, 2.0]  # half of 0.5 and 1 after a half-life, and a score of 0.25
REPLY = ReplyInfo("", "a:1", model_digest="d1")


class Arithmetic:
    """Scores 0.25 + ``moved``; its one quantile is last close + sum of scores + age."""

    def __init__(self, moved: float = 0.0) -> None:
        self.moved = moved

    def score(self, texts: Sequence[str], **_: Any) -> list[Sentiment]:
        score = 0.25 + self.moved
        shares = Probabilities(0, 1 - score, score)
        one = Sentiment("", "neutral", score, shares, 1, truncated=False, reply=REPLY)
        return [one] * len(texts)

    def forecast(
        self,
        prices: Sequence[Any],
        *,
        sentiment_state: Sequence[SentimentState] = (),
        elapsed_s: Sequence[float] = (),
        timings: bool = False,
    ) -> Any:
        if not sentiment_state:  # one history alone
            (one,) = self.forecast([prices], sentiment_state=[NO_NEWS], elapsed_s=[0])
            return one
        found = []
        for row, state, age_s in zip(prices, sentiment_state, elapsed_s, strict=True):
            value = np.array([[row[-1] + state.score_sum + age_s]], np.float32)
            found.append(
                Forecast(
                    None, row[-1], (1,), (0.5,), value, value, value[0], value[0], value[0],
                    bar_s=1.0, half_life_s=HALF_LIFE_S, reply=REPLY,
                )
            )  # fmt: skip
        return found


def window(close: float) -> Any:
    return np.array([np.nan] * 63 + [close], np.float32)


def sent(**inputs: Any) -> dict[str, list[str]]:
    """The HMACs of one row."""
    rows: dict[str, Callable[[Any], Any]] = {
        "TEXT": lambda text: np.array([text.encode()], object),
        "PRICES": window,
        "SENTIMENT_STATE": lambda state: np.array(state, np.float32),
        "ELAPSED_S": lambda age_s: np.array([age_s], np.float32),
    }
    return {name: [KEY.of_input(name, rows[name](value))] for name, value in inputs.items()}


def reply(inputs: dict[str, list[str]], outputs: dict[str, Any]) -> dict[str, Any]:
    return {
        "kind": "reply",
        "time_ns": 0,
        "model_digest": "d1",
        "request_id": "a",
        "inputs": inputs,
        "truncation": "head",
        "outputs": {name: [value] for name, value in outputs.items()},
    }


VIEWED = sent(TEXT="up", PRICES=7, SENTIMENT_STATE=BEFORE, ELAPSED_S=HALF_LIFE_S)
SCORED = {"SCORE": [0.25], "NEXT_SENTIMENT_STATE": AFTER}


def replayed(
    tmp_path: Path, records: list[dict[str, Any]], rows: list[Any], moved: float = 0.0
) -> Replayed:
    file = tmp_path / "asked.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    known = KnownInputs.read(file, KEY, column="text")
    return replay_records(records, known, cast(Client, Arithmetic(moved)))


def counts(found: Replayed) -> list[tuple[int, int]]:
    parts = (found.scores, found.states, found.forecasts)
    return [(len(part.compared), part.unmatched) for part in parts]


def differences(found: Replayed) -> list[float]:
    parts = (found.scores, found.states, found.forecasts)
    return [each.difference for part in parts for each in part.compared]


def test_a_forecast_follows_from_prices_state_and_age(tmp_path: Path) -> None:
    inputs = sent(PRICES=7, SENTIMENT_STATE=BEFORE, ELAPSED_S=2)
    records = [reply(inputs, {"QUANTILES": [[9.5]], "P_UP": [9.5]})]
    row = {"prices": [7], "sentiment_state": BEFORE, "elapsed_s": 2}

    assert differences(replayed(tmp_path, records, [row])) == [0]
    for lacking in row:
        less = {name: value for name, value in row.items() if name != lacking}
        assert counts(replayed(tmp_path, records, [less])) == [(0, 0), (0, 0), (0, 1)]


def test_a_market_view_is_exact_but_for_its_score(tmp_path: Path) -> None:
    """The score is 0.01 more now, and the forecast that of the score then: 7 + 0.5."""
    records = [reply(VIEWED, {**SCORED, "QUANTILES": [[7.5]]})]
    row = {"text": "up", "prices": [7], "sentiment_state": BEFORE, "elapsed_s": 100}

    found = replayed(tmp_path, records, [row], moved=0.01)

    assert differences(found) == pytest.approx([0.01, 0, 0], abs=1e-9)
    assert (found.digest, found.other_digests) == ("d1", frozenset())


def test_a_state_that_does_not_follow_is_found(tmp_path: Path) -> None:
    """A sum of 0.75, where 0.5 follows; the forecast fits the state that is recorded."""
    wrong = {"SCORE": [0.25], "NEXT_SENTIMENT_STATE": [0.75, 1.5, 0.25, 2]}
    records = [reply(VIEWED, {**wrong, "QUANTILES": [[7.75]]})]
    row = {"text": "up", "prices": [7], "sentiment_state": BEFORE, "elapsed_s": 100}

    assert differences(replayed(tmp_path, records, [row])) == [0, 0.25, 0]
    without_prices = {name: row[name] for name in row if name != "prices"}
    assert differences(replayed(tmp_path, records, [without_prices])) == [0, 0.25]


def test_a_log_knows_the_states_that_it_gave(tmp_path: Path) -> None:
    inputs = sent(PRICES=7, SENTIMENT_STATE=AFTER, ELAPSED_S=0)
    records = [
        reply(inputs, {"QUANTILES": [[7.5]]}),
        reply(sent(TEXT="up"), SCORED),
    ]

    found = replayed(tmp_path, records, [{"prices": [7]}])

    assert counts(found) == [(0, 1), (0, 1), (1, 0)]
    assert differences(found) == [0]


def test_the_steps_of_a_tensorrt_chain_are_joined(tmp_path: Path) -> None:
    last = sent(PRICES=7, SENTIMENT_STATE=AFTER, ELAPSED_S=0)
    records = [
        reply(VIEWED, {"TOKENS": [1]}),
        reply({}, SCORED),
        reply(last, {"QUANTILES": [[7.5]]}),
    ]
    row = {"text": "up", "prices": [7], "sentiment_state": BEFORE, "elapsed_s": 100}

    found = replayed(tmp_path, records, [row])

    assert counts(found) == [(1, 0)] * 3
    assert differences(found) == [0, 0, 0]


def test_the_value_that_differs_most_is_named(tmp_path: Path) -> None:
    """7 is recorded as 7.0002 in one output and 7.7 in another: a tenth of 7.7 less."""
    outputs = {"QUANTILES": [[7.0002]], "BASELINE_QUANTILES": [[7.7]]}
    other = {"QUANTILES": [[7, 7]]}  # of a forecaster with two levels
    asked = sent(PRICES=7, SENTIMENT_STATE=[0] * 4, ELAPSED_S=0)

    found = replayed(
        tmp_path, [reply(asked, outputs), reply(asked, other)], [{"prices": [7]}]
    )

    one, two = found.forecasts.compared
    assert (one.output, one.recorded, one.now) == ("BASELINE_QUANTILES", "7.7", "7")
    assert one.difference == pytest.approx(1 / 11)
    assert two.difference == np.inf


def test_of_probabilities_too(tmp_path: Path) -> None:
    """(0, 0.75, 0.25) now: of these the second is furthest from what was."""
    records = [reply(sent(TEXT="up"), {"PROBABILITIES": [0.1, 0.5, 0.4]})]

    (found,) = replayed(tmp_path, records, [{"text": "up"}]).scores.compared

    assert (found.output, found.recorded, found.now) == ("PROBABILITIES", "0.5", "0.75")


def test_parquet_says_the_same(tmp_path: Path) -> None:
    file = tmp_path / "asked.parquet"
    closes = [0.1 + number for number in range(70)]
    state = SentimentState(0.1, 1.3, -0.7, 3)
    pd.DataFrame(
        {"prices": [closes], "sentiment_state": [state.__dict__], "elapsed_s": [0.3]}
    ).to_parquet(file)
    known = KnownInputs.read(file, KEY, column="text")
    rows = {
        "PRICES": np.array(closes[6:], np.float32),
        "SENTIMENT_STATE": np.array([0.1, 1.3, -0.7, 3], np.float32),
        "ELAPSED_S": np.array([0.3], np.float32),
    }
    for name, row in rows.items():
        assert known.find(name, {name: [KEY.of_input(name, row)]}, 0) is not None, name


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"price": [1]}, "expected a column of 'text', 'prices'"),
        ({"text": 5}, "row 0 (from 0) of 'text': expected a text, found 5"),
        ({"prices": 5}, "of 'prices': expected a list of closes, found 5"),
        ({"prices": ["a"]}, "of 'prices': .*expected a row of numbers"),
        ({"sentiment_state": [1, 2, 3, 4, 5]}, "of 'sentiment_state'"),
        ({"sentiment_state": {"sum": 1}}, "of 'sentiment_state': .*'sum'"),
        ({"sentiment_state": ["a"]}, "of 'sentiment_state': .*expected numbers"),
        ({"elapsed_s": "soon"}, "of 'elapsed_s': .*expected seconds, found 'soon'"),
    ],
)
def test_what_cannot_be_read_is_named(tmp_path: Path, row: Any, message: str) -> None:
    file = tmp_path / "asked.jsonl"
    file.write_text(json.dumps(row))

    pattern = f"asked.jsonl: .*{message.replace('(from 0)', '.from 0.')}"
    with pytest.raises(InputError, match=pattern):
        KnownInputs.read(file, KEY, column="text")
