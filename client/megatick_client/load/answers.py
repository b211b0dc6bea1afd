"""Were the answers given under load still right?

Two kinds of proof.  What every answer must obey: the rows that were asked for,
probabilities that sum to 1, scores in range, quantiles that never cross.  And what the
same text was answered when nothing else was asked: the reference.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from megatick_client.requests import Request
from megatick_client.wire import decode
from megatick_contract import ContractError
from megatick_contract.prices import BASELINE_QUANTILES, P_UP, QUANTILES
from megatick_contract.text import PROBABILITIES, SCORE

Outputs = Mapping[str, npt.NDArray[Any]]

ROUNDING: Final = 1e-4
"""Three float32 probabilities, computed in any order, sum to 1 far closer than this."""

SCORE_MOVED: Final = "score differs from the reference"


@dataclass(frozen=True)
class AnswerCounts:
    """What became of the answers that were checked.

    Attributes:
        checked: answers held against the rules; every answer is.
        compared: of them, those whose call had a reference.
        wrong: answers with at least one problem.
        problems: how many answers had each problem, by its name.
        max_score_error: largest |score - reference|; 0 where nothing was compared.
    """

    checked: int
    compared: int
    wrong: int
    problems: Mapping[str, int]
    max_score_error: float


class AnswerBook:
    """Keeps the answers of a replay until the clock has stopped; equal ones once.

    Args:
        calls: the distinct calls, by whose index the answers are kept.
    """

    def __init__(self, calls: Sequence[Request]) -> None:
        self._calls = calls
        self._numbers: dict[tuple[int, bytes], int] = {}

    def keep(self, call: int, answer: bytes) -> int:
        """Keep the answer to a call; returns the number by which ``check`` knows it."""
        return self._numbers.setdefault((call, answer), len(self._numbers))

    def check(
        self,
        answers: npt.NDArray[np.int64],
        references: Mapping[int, npt.NDArray[np.float64]],
        *,
        tolerance: float,
    ) -> tuple[AnswerCounts, npt.NDArray[np.bool_]]:
        """Check every answer that was kept.

        Args:
            answers: int64, shape (answers,), the number of each answer that was given.
            references: scores of the rows of a call, by its index; for any of the calls.
            tolerance: how far a score may be from its reference.

        Returns:
            The counts, and for each of ``answers`` whether it is wrong.
        """
        times = np.bincount(answers, minlength=len(self._numbers))
        wrong = np.zeros(len(self._numbers), dtype=bool)
        problems: Counter[str] = Counter()
        compared, worst = 0, 0.0
        for (call, answer), number in self._numbers.items():
            found, outputs = _read(answer, self._calls[call])
            reference = references.get(call)
            if reference is not None and not found and SCORE.name in outputs:
                error = float(np.abs(outputs[SCORE.name][:, 0] - reference).max())
                compared += int(times[number])
                worst = max(worst, error)
                if error > tolerance:
                    found.append(SCORE_MOVED)
            wrong[number] = bool(found)
            for problem in found:
                problems[problem] += int(times[number])
        each = wrong[answers]
        counts = AnswerCounts(
            len(answers), compared, int(each.sum()), dict(problems), worst
        )
        return counts, each


def scores_of(answer: bytes) -> npt.NDArray[np.float64] | None:
    """Scores of an answer's rows, float64, shape (rows,); None where it has none."""
    score = decode(answer).get(SCORE.name)
    return None if score is None else score[:, 0].astype(np.float64)


def problems_of(outputs: Outputs, request: Request) -> list[str]:
    """Name what is wrong with an answer; empty when nothing is.

    Args:
        outputs: arrays by the tensors' names.
        request: what was asked.
    """
    found = []
    for tensor in request.outputs:
        array = outputs.get(tensor.name)
        if array is None:
            found.append(f"no {tensor.name}")
            continue
        try:
            tensor.check(array)
        except ContractError:
            found.append(f"{tensor.name} of another type or shape")
            continue
        if len(array) != request.rows:
            found.append(f"{tensor.name} of another number of rows")
    if found:
        return found
    asked = {tensor.name: outputs[tensor.name] for tensor in request.outputs}
    return [problem for problem, holds in _rules(asked) if not holds]


def _rules(outputs: Outputs) -> list[tuple[str, bool]]:
    """What must hold of well-shaped outputs; NaN breaks every rule."""
    rules: list[tuple[str, bool]] = []
    p = outputs.get(PROBABILITIES.name)
    score = outputs.get(SCORE.name)
    if p is not None:
        in_range = bool(((p >= 0) & (p <= 1)).all())
        sums = bool((np.abs(p.sum(axis=1) - 1) <= ROUNDING).all())
        rules += [("a probability outside 0 to 1", in_range)]
        rules += [("probabilities do not sum to 1", sums)]
    if score is not None:
        rules += [("score outside -1 to 1", bool((np.abs(score) <= 1).all()))]
    if p is not None and score is not None:
        difference = np.abs(p[:, 2] - p[:, 0] - score[:, 0])
        same = bool((difference <= ROUNDING).all())
        rules += [("score is not P(positive) - P(negative)", same)]
    for tensor in (QUANTILES, BASELINE_QUANTILES):
        if (quantiles := outputs.get(tensor.name)) is not None:
            rising = bool((np.diff(quantiles, axis=-1) >= 0).all())
            rules += [(f"{tensor.name} cross", rising)]
    if (up := outputs.get(P_UP.name)) is not None:
        rules += [("P_UP outside 0 to 1", bool(((up >= 0) & (up <= 1)).all()))]
    return rules


def _read(answer: bytes, request: Request) -> tuple[list[str], Outputs]:
    try:
        outputs = decode(answer)
    except ValueError:
        return ["cannot be read"], {}
    return problems_of(outputs, request), outputs
