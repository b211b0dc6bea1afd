"""What a precision must keep in more bits, found on a few texts.

A graph takes seconds to write and load, so the search runs the lowered networks in torch;
what it finds is measured again, as a graph and on all texts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from megatick_contract.packing import plan_batches
from megatick_export.evaluation import Errors, measure
from megatick_export.packed import PackedClassifier
from megatick_export.parity import (
    Engine,
    Logits,
    Outputs,
    Rows,
    run_in_batches,
    torch_engine,
)
from megatick_export.precision.budgets import Budgets
from megatick_export.precision.emulation import WideAccumulation
from megatick_export.precision.lowering import PARTS, Part

SCREENED_TEXTS: Final = 256
RANKED_TEXTS: Final = 32


@dataclass(frozen=True)
class Screen:
    """Texts to search on.

    Attributes:
        rows: their tokens.
        reference: logits of the float32 graph for them, (rows, classes).
        budgets: what may change.
        max_batch_tokens: of one run.
    """

    rows: Rows
    reference: Logits
    budgets: Budgets
    max_batch_tokens: int

    def errors(self, classifier: PackedClassifier) -> Errors:
        """Measure a lowered classifier on the first ``SCREENED_TEXTS``."""
        logits = self._run(classifier, SCREENED_TEXTS)
        return measure(logits, self.reference[:SCREENED_TEXTS], None)

    def fits(self, classifier: PackedClassifier) -> bool:
        """Whether its errors on all texts are within the budgets.

        A small share of few texts is none: 0.2 % of ``SCREENED_TEXTS`` would let no label
        flip.  What flips too many is given up as soon as it has.
        """
        engine = emulated_engine(classifier)
        found = np.empty_like(self.reference)
        flips = 0
        for batch in plan_batches(
            [len(row) for row in self.rows], max_batch_tokens=self.max_batch_tokens
        ):
            found[batch] = engine([self.rows[row] for row in batch]).logits
            labels, expected = found[batch].argmax(-1), self.reference[batch].argmax(-1)
            flips += int((labels != expected).sum())
            if self.budgets.too_many(flips, len(self.rows)):
                return False
        return self.budgets.exceeded(measure(found, self.reference, None)) is None

    def moved(self, classifier: PackedClassifier) -> float:
        """Mean absolute change of a logit on the first ``RANKED_TEXTS``."""
        logits = self._run(classifier, RANKED_TEXTS)
        return float(np.abs(logits - self.reference[:RANKED_TEXTS]).mean())

    def _run(self, classifier: PackedClassifier, texts: int) -> Logits:
        return run_in_batches(
            emulated_engine(classifier),
            self.rows[:texts],
            max_batch_tokens=self.max_batch_tokens,
        ).logits


def emulated_engine(classifier: PackedClassifier) -> Engine:
    """Run a lowered classifier in torch as a GPU would."""
    run = torch_engine(classifier)

    def engine(rows: Rows) -> Outputs:
        with WideAccumulation():  # type: ignore[no-untyped-call]
            return run(rows)

    return engine


def parts_to_keep(
    make: Callable[[tuple[Part, ...]], PackedClassifier],
    screen: Screen,
    *,
    at_least: int = 0,
) -> tuple[Part, ...]:
    """Find the fewest parts to keep in float32.

    Args:
        make: the lowered classifier that keeps the parts it is given.
        screen: what it is measured on.
        at_least: how many of ``PARTS`` to keep in any case.

    Returns:
        The shortest beginning of ``PARTS`` that is within the budgets; where none is, the
        one that flips least.
    """
    tried: dict[tuple[Part, ...], Errors] = {}
    for count in range(at_least, len(PARTS) + 1):
        kept = PARTS[:count]
        tried[kept] = screen.errors(make(kept))
        if screen.budgets.exceeded(tried[kept]) is None:
            return kept
    return min(tried, key=lambda kept: _harm(tried[kept]))


def layers_that_bear(
    make: Callable[[Sequence[int]], PackedClassifier], layers: int, screen: Screen
) -> list[int]:
    """Choose the layers to quantize: all but the fewest that exceed the budgets.

    Layers are ranked by what each alone does to the logits; then the number of those to
    quantize is bisected, as fewer change less.

    Args:
        make: the classifier with the layers quantized whose numbers it is given.
        layers: how many there are.
        screen: what it is measured on.

    Returns:
        Numbers of layers, rising; none if the gentlest alone is too much.
    """
    everything = list(range(layers))
    if screen.fits(make(everything)):
        return everything
    moved = {layer: screen.moved(make([layer])) for layer in everything}
    gentle_first = sorted(everything, key=lambda layer: _last_if_nan(moved[layer]))
    fits, too_many = 0, layers
    while too_many - fits > 1:
        middle = (fits + too_many) // 2
        if screen.fits(make(gentle_first[:middle])):
            fits = middle
        else:
            too_many = middle
    return sorted(gentle_first[:fits])


def _harm(errors: Errors) -> tuple[bool, int, float]:
    return not math.isfinite(errors.max_logit_error), errors.label_flips, errors.score_error


def _last_if_nan(value: float) -> float:
    return math.inf if math.isnan(value) else value
