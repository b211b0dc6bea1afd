"""How much of the answers a precision may change."""

from __future__ import annotations

import math
from dataclasses import dataclass

from megatick_export.evaluation import Errors


@dataclass(frozen=True)
class Budgets:
    """What is allowed.

    Attributes:
        flips: share of labels that may flip, in [0, 1].
        score: mean absolute change of the score, in [0, 2].
    """

    flips: float
    score: float

    def too_many(self, flips: int, texts: int) -> bool:
        """Whether more labels of so many texts flip than may."""
        return flips > self.flips * texts

    def exceeded(self, errors: Errors) -> str | None:
        """Say which budget these errors exceed, with the figures; None if they keep both.

        A logit that is not finite is never within a budget.
        """
        if not math.isfinite(errors.max_logit_error):
            return "its logits are not finite"
        if self.too_many(errors.label_flips, errors.texts):
            share = errors.label_flips / errors.texts
            return (
                f"{errors.label_flips} of {errors.texts} labels flip ({share:.2%}), the "
                f"budget is {self.flips:.2%}"
            )
        if errors.score_error > self.score:
            return (
                f"the score moves by {errors.score_error:.4f} on average, the budget is "
                f"{self.score:g}"
            )
        return None
