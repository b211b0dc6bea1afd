"""The benchmark of the first calls, on a tiny model."""

from __future__ import annotations

import json
from pathlib import Path

import first_call
import numpy as np
import pytest
import tail
import tritonclient.grpc as triton
from exported import Exported
from subject import Subject


@pytest.mark.parametrize("tokens", [5, 25, 83])
def test_a_text_has_just_that_many_tokens(exported: Exported, tokens: int) -> None:
    subject = Subject.of(exported.out)

    text = first_call.text_of(subject, tokens)

    assert len(text.encode()) == tokens  # the tiny tokenizer's are bytes


@pytest.mark.triton
def test_first_calls_are_held_against_later_ones(
    exported: Exported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def ask(
        client: triton.InferenceServerClient,
        model: str,
        text: str,
        outputs: tuple[str, ...],
    ) -> object:
        asked.append(text)
        return tail.ask(client, model, text, outputs)

    monkeypatch.setattr("first_call.ask", ask)

    first_call.main(exported.out, starts=2, calls=110, out=tmp_path)

    figures = json.loads((tmp_path / "first_call.json").read_text())
    # Each start: the usual text first, then each new length and its later calls.
    lengths = [len(text) for text in asked]
    one_start = [25] * 110 + [each for new in (11, 29, 47, 83) for each in [new] * 21]
    assert lengths == 2 * one_start
    for start in figures["starts"]:
        assert len(start["first_ms"]) == 10
        assert start["first_over_last"] == start["first_ms"][0] / start["last_ms"]
        for each in start["new_lengths"]:
            assert each["over_later"] == each["first_ms"] / each["later_ms"]
    assert figures["first_over_last"] == pytest.approx(
        np.mean([start["first_over_last"] for start in figures["starts"]])
    )
