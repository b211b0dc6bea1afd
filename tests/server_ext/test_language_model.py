"""The step gives each request what it asked for, and the engine no more to copy."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import pytest

from megatick_server.adapter import StepRequest
from megatick_server.engine import PackedEngine
from megatick_server.steps.language_model import LanguageModel


class Sums:
    """In the engine's place: logits and embedding are multiples of each row's sum."""

    def __init__(self, *outputs: str) -> None:
        self.outputs = frozenset(outputs)
        self.asked: list[set[str]] = []

    def run(
        self, rows: Sequence[npt.NDArray[np.int32]], wanted: Collection[str]
    ) -> dict[str, npt.NDArray[np.float32]]:
        self.asked.append(set(wanted))
        sums = np.array([[row.sum()] for row in rows], np.float32)
        multiples = {"logits": [1, 2, 3], "embedding": [10, 20, 30, 40]}
        return {name: sums * np.array(multiples[name], np.float32) for name in wanted}


def request(*rows: Sequence[int], wanted: Collection[str]) -> StepRequest:
    inputs = {
        "input_ids": np.concatenate([*rows])[None].astype(np.int32),
        "row_lengths": np.array([[len(row) for row in rows]], np.int32),
    }
    return StepRequest(inputs, {}, frozenset(wanted))


def answers(engine: Sums, *requests: StepRequest) -> list[dict[str, Any]]:
    step = LanguageModel(cast("PackedEngine", engine))
    return [dict(cast("Any", answer)) for answer in step(requests)]


SENTIMENT = ("logits", "language_model_us")
EMBEDDING = ("logits", "embedding", "language_model_us")


def test_requests_of_both_kinds_share_one_run() -> None:
    engine = Sums("logits", "embedding")

    first, second = answers(
        engine,
        request([1, 2], [5], wanted=SENTIMENT),
        request([4], wanted=EMBEDDING),
    )

    assert engine.asked == [{"logits", "embedding"}]
    assert first["logits"].tolist() == [[[3, 6, 9], [5, 10, 15]]]
    assert second["logits"].tolist() == [[[4, 8, 12]]]
    assert second["embedding"].tolist() == [[[40, 80, 120, 160]]]


@pytest.mark.parametrize(
    ("outputs", "wanted"),
    [
        pytest.param(("logits", "embedding"), SENTIMENT, id="nobody-asks"),
        pytest.param(("logits",), EMBEDDING, id="graph-without"),
        pytest.param(("logits", "decoder.layers.0"), SENTIMENT, id="other-outputs"),
    ],
)
def test_the_embedding_is_not_copied(
    outputs: tuple[str, ...], wanted: tuple[str, ...]
) -> None:
    engine = Sums(*outputs)

    (answer,) = answers(engine, request([7], wanted=wanted))

    assert engine.asked == [{"logits"}]
    assert "embedding" not in answer
    assert answer["logits"].tolist() == [[[7, 14, 21]]]
