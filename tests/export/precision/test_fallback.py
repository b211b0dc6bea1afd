"""What does not bear a precision is found, kept in more bits and told."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
from bench import tiny_network, workbench

from megatick_export.evaluation import Errors
from megatick_export.packed import PackedClassifier
from megatick_export.parity import Outputs, Rows
from megatick_export.precision import fallback
from megatick_export.precision.budgets import Budgets
from megatick_export.precision.fallback import Screen, layers_that_bear, parts_to_keep
from megatick_export.precision.lowering import PARTS, Part
from megatick_export.precision.trials import choose

CLEAN = Errors(0.1, 0, 0.0, 0.0, 100, None, None)
BUDGETS = Budgets(flips=0.05, score=0.02)


@dataclass(frozen=True)
class Said:
    """What stands for a classifier: its errors, as the test says them."""

    errors: Errors
    moved: float = 0.0


class SaidScreen(Screen):
    """Reads what is said."""

    def errors(self, classifier: PackedClassifier) -> Errors:
        return cast("Said", classifier).errors

    def moved(self, classifier: PackedClassifier) -> float:
        return cast("Said", classifier).moved

    def fits(self, classifier: PackedClassifier) -> bool:
        return self.budgets.exceeded(self.errors(classifier)) is None


SCREEN = SaidScreen([], np.zeros((0, 3), np.float32), BUDGETS, 1)


def classifier(errors: Errors, moved: float = 0.0) -> PackedClassifier:
    return cast("PackedClassifier", Said(errors, moved))


@pytest.mark.parametrize(
    ("flips", "expected"),
    [
        pytest.param([1, 1, 1, 1], [0, 1, 2, 3], id="all-bear-it"),
        pytest.param([1, 9, 1, 1], [0, 2, 3], id="one-does-not"),
        pytest.param([4, 9, 3, 1], [2, 3], id="3-and-1-are-within-5"),
        pytest.param([6, 9, 7, 8], [], id="none-bears-it"),
        pytest.param([math.nan, 1, 1, 1], [1, 2, 3], id="one-is-no-number"),
    ],
)
def test_the_gentlest_layers_that_fit_are_chosen(
    flips: list[float], expected: list[int]
) -> None:
    def make(layers: Sequence[int]) -> PackedClassifier:
        harm = sum(flips[layer] for layer in layers)
        found = replace(CLEAN, label_flips=0 if math.isnan(harm) else int(harm))
        if math.isnan(harm):
            found = replace(found, max_logit_error=math.nan)
        return classifier(found, moved=harm)

    assert layers_that_bear(make, 4, SCREEN) == expected


TEXTS = [np.full(5, text, np.int32) for text in range(400)]
REFERENCE = np.tile(np.array([0, 0, 4], np.float32), (len(TEXTS), 1))


@pytest.mark.parametrize(
    ("flipped", "shift", "expected", "runs"),
    [
        pytest.param(range(396, 400), 0.0, True, 40, id="as-many-as-are-allowed"),
        pytest.param(range(395, 400), 0.0, False, 40, id="one-more-at-the-end"),
        pytest.param(range(5), 0.0, False, 1, id="one-more-at-once"),
        pytest.param((), -1.0, False, 40, id="the-score-moves"),
        pytest.param((), math.nan, False, 40, id="no-number"),
    ],
)
def test_whether_a_graph_fits_is_asked_of_all_texts(
    flipped: Sequence[int],
    shift: float,
    expected: bool,
    runs: int,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[int] = []

    def engine(rows: Rows) -> Outputs:
        asked.append(len(rows))
        texts = [int(row[0]) for row in rows]
        logits = REFERENCE[texts].copy()
        logits[np.isin(texts, flipped)] = (0, 4, 0)
        logits[:, 2] += shift
        return Outputs(logits)

    monkeypatch.setattr(fallback, "emulated_engine", lambda classifier: engine)
    budgets = Budgets(flips=0.01, score=0.02)
    screen = Screen(TEXTS, REFERENCE, budgets, max_batch_tokens=50)

    assert screen.fits(classifier(CLEAN)) is expected
    assert asked == [10] * runs


def test_a_layer_that_moves_the_score_is_kept_as_well() -> None:
    def make(layers: Sequence[int]) -> PackedClassifier:
        score = sum([0.001, 0.03, 0.001][layer] for layer in layers)
        return classifier(replace(CLEAN, score_error=score), moved=score)

    assert layers_that_bear(make, 3, SCREEN) == [0, 2]


@pytest.mark.parametrize(
    ("flips", "expected"),
    [
        pytest.param([5, 5, 5, 5], (), id="nothing"),
        pytest.param([6, 5, 0, 0], ("norms",), id="the-fewest"),
        pytest.param([9, 8, 6, 5], PARTS, id="all"),
        pytest.param([9, 8, 6, 7], PARTS[:2], id="none-fits-so-the-least"),
    ],
)
def test_the_fewest_parts_that_fit_are_kept(
    flips: list[int], expected: tuple[Part, ...]
) -> None:
    def make(kept: tuple[Part, ...]) -> PackedClassifier:
        return classifier(replace(CLEAN, label_flips=flips[len(kept)]))

    assert parts_to_keep(make, SCREEN) == expected


def test_what_cannot_be_seen_here_is_kept_in_any_case() -> None:
    def make(kept: tuple[Part, ...]) -> PackedClassifier:
        assert kept, "nothing kept was tried"
        return classifier(CLEAN)

    assert parts_to_keep(make, SCREEN, at_least=1) == ("norms",)


def test_what_is_no_number_is_never_the_least() -> None:
    def make(kept: tuple[Part, ...]) -> PackedClassifier:
        if not kept:
            return classifier(replace(CLEAN, max_logit_error=math.nan))
        return classifier(replace(CLEAN, label_flips=50))

    assert parts_to_keep(make, SCREEN) == ("norms",)


def test_a_layer_made_sensitive_is_kept_in_16_bits_and_listed(tmp_path: Path) -> None:
    # Training scaled its input for values up to a million: some units are rounded to 0.
    bench = workbench(
        tiny_network("llama"),
        tmp_path,
        trained_inputs={"decoder.layers.1.mlp.linear_fc1": 1e6},
        budgets=Budgets(flips=0.15, score=0.08),
    )

    choice = choose(bench, ["fp8"], ask=bench.rows, progress=lambda stage: None)

    (trial,) = choice.trials
    assert trial.layers_16_bit == (1,)
    assert (trial.float32, trial.rejected, trial.chosen) == ((), None, True)
