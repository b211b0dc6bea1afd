"""What the step tells beside the scores."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatick_server.adapter import Arrays, StepRequest
from megatick_server.errors import ArtefactError
from megatick_server.steps.sentiment_scores import SentimentScores

LOGITS = np.zeros((1, 2, 3), np.float32)  # of two rows


def answer(folder: Path, settings: dict[str, Any]) -> Arrays:
    version = folder / "1"
    version.mkdir()
    (version / "settings.json").write_text(json.dumps(settings))
    (version / "model_digest.txt").write_text("d1\n")
    step = SentimentScores.load({"model_repository": str(folder), "model_version": "1"})
    inputs = {"logits": LOGITS, "preprocess_us": np.zeros((1, 1), np.float32)}
    (answer,) = step([StepRequest(inputs, {}, frozenset())])
    assert isinstance(answer, dict)
    return answer


def test_each_row_tells_how_far_its_score_may_move(tmp_path: Path) -> None:
    found = answer(tmp_path, {"half_life_s": 60, "score_tolerance": 0.25})

    assert found["SCORE_TOLERANCE"].tolist() == [[0.25], [0.25]]


def test_a_repository_of_before_that_was_told_is_served(tmp_path: Path) -> None:
    found = answer(tmp_path, {"half_life_s": 60})

    assert found["SCORE"].shape == (2, 1)
    assert "SCORE_TOLERANCE" not in found


@pytest.mark.parametrize("tolerance", [0, -1, "NaN"])
def test_a_tolerance_is_above_0(tmp_path: Path, tolerance: object) -> None:
    with pytest.raises(ArtefactError, match="does not hold the settings"):
        answer(tmp_path, {"half_life_s": 60, "score_tolerance": tolerance})


def test_a_setting_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="half_life_s: Field required; export again"):
        answer(tmp_path, {"score_tolerance": 0.25})
