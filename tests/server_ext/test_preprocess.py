"""How a request's `longest` tells the engine how far attention reaches."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from tiny import byte_tokenizer

from megatick_server.adapter import StepRequest
from megatick_server.errors import ArtefactError
from megatick_server.steps.preprocess import Preprocess


def load(folder: Path, settings: dict[str, int]) -> Preprocess:
    version = folder / "1"
    version.mkdir()
    (version / "settings.json").write_text(json.dumps(settings))
    byte_tokenizer().save(str(version / "tokenizer.json"))
    return Preprocess.load({"model_repository": str(folder), "model_version": "1"})


@pytest.mark.parametrize(
    ("settings", "longest"),
    [
        pytest.param({"max_tokens": 96}, 4, id="its-longest-row"),
        pytest.param({"max_tokens": 96, "longest": 96}, 96, id="the-whole-window"),
        pytest.param({"max_tokens": 3, "longest": 32}, 32, id="the-batch-is-longer"),
    ],
)
def test_longest_is_the_longest_row_or_what_the_engine_is_compiled_for(
    tmp_path: Path, settings: dict[str, int], longest: int
) -> None:
    step = load(tmp_path, settings)
    texts = np.array([[b"up"], [b"down"]], object)

    (answer,) = step([StepRequest({"TEXT": texts}, {}, frozenset())])

    assert isinstance(answer, dict)
    assert answer["longest"].shape == (1, longest)
    assert answer["row_lengths"].tolist() == [[2, min(4, settings["max_tokens"])]]


def test_a_longest_of_nothing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtefactError, match="greater than or equal to 1"):
        load(tmp_path, {"max_tokens": 96, "longest": 0})
