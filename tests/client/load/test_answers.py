"""Every rule for an answer, broken once by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from endpoint import answers_to
from tritonclient.grpc import service_pb2

from megatick_client.load import Texts, market_view_calls, sentiment_calls
from megatick_client.load.answers import AnswerBook, problems_of, scores_of
from megatick_client.requests import Request

Arrays = dict[str, npt.NDArray[Any]]

(CALL,) = market_view_calls(Texts(("a+", "b")), {"A": np.array([1.0, 2.0])}, rows=2)


def right() -> Arrays:
    """An answer to ``CALL`` that obeys every rule."""
    line = np.array([[-0.1, 0.0, 0.1]], np.float32)  # one horizon, three levels
    return {
        **answers_to(["a+", "b"]),
        "QUANTILES": np.array([line, line]),
        "BASELINE_QUANTILES": np.array([line, 0 * line]),  # equal is not crossed
        "P_UP": np.array([[0.0], [1.0]], np.float32),
        "HORIZONS": np.ones((2, 1), np.int32),
        "LEVELS": np.array([[0.1, 0.5, 0.9]] * 2, np.float32),
        "BAR_S": np.ones((2, 1), np.float32),
        "HALF_LIFE_S": np.ones((2, 1), np.float32),
        "EDGE": np.zeros((2, 1), np.bool_),
        "EDGE_P_VALUE": np.ones((2, 1), np.float32),
        "NEXT_SENTIMENT_STATE": np.zeros((2, 4), np.float32),
    }


def test_a_right_answer_has_no_problem() -> None:
    assert problems_of(right(), CALL) == []


def setting(name: str, index: tuple[int, ...], value: float) -> Callable[[Arrays], None]:
    def change(outputs: Arrays) -> None:
        outputs[name][index] = value

    return change


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        pytest.param(
            setting("PROBABILITIES", (1, 1), 0.3343),
            "probabilities do not sum to 1",
            id="sum",
        ),
        pytest.param(
            setting("PROBABILITIES", (1, 1), np.nan),
            "a probability outside 0 to 1",
            id="nan",
        ),
        pytest.param(
            setting("SCORE", (0, 0), 0.2502),
            "score is not P(positive) - P(negative)",
            id="score",
        ),
        pytest.param(setting("SCORE", (0, 0), 1.001), "score outside -1 to 1", id="range"),
        pytest.param(setting("QUANTILES", (1, 0, 2), -0.01), "QUANTILES cross", id="cross"),
        pytest.param(
            setting("BASELINE_QUANTILES", (0, 0, 0), 0.01),
            "BASELINE_QUANTILES cross",
            id="baseline",
        ),
        pytest.param(
            setting("QUANTILES", (1, 0, 1), np.nan), "QUANTILES cross", id="q-nan"
        ),
        pytest.param(setting("P_UP", (0, 0), -0.001), "P_UP outside 0 to 1", id="p-up"),
        pytest.param(lambda o: o.pop("TOKENS"), "no TOKENS", id="absent"),
        pytest.param(
            lambda o: o.update(SCORE=o["SCORE"][:1]),
            "SCORE of another number of rows",
            id="rows",
        ),
        pytest.param(
            lambda o: o.update(SCORE=o["SCORE"].astype(np.float64)),
            "SCORE of another type or shape",
            id="dtype",
        ),
    ],
)
def test_a_wrong_answer_is_named(change: Callable[[Arrays], Any], problem: str) -> None:
    outputs = right()
    change(outputs)

    assert problem in problems_of(outputs, CALL)


def encoded(call: Request, outputs: Arrays) -> bytes:
    response = service_pb2.ModelInferResponse()
    for tensor in call.outputs:
        array = outputs[tensor.name]
        shape = list(array.shape)
        response.outputs.add(name=tensor.name, datatype=tensor.datatype, shape=shape)
        response.raw_output_contents.append(array.tobytes())
    answer: bytes = response.SerializeToString()
    return answer


def test_answers_are_counted_and_compared() -> None:
    """Call 0 is answered rightly twice, once 0.25 off, once unreadably; call 1, without a
    reference, once rightly."""
    calls = sentiment_calls(Texts(("+", "b")))
    good, other = (
        encoded(call, answers_to([t])) for call, t in zip(calls, "+b", strict=True)
    )
    moved = encoded(calls[0], answers_to(["+++"]))  # 3/6 instead of 1/4
    book = AnswerBook(calls)
    given = [(0, good), (1, other), (0, moved), (0, good), (0, b"\xff")]

    numbers = np.array([book.keep(*each) for each in given])
    counts, wrong = book.check(numbers, {0: np.array([0.25])}, tolerance=0.2)

    assert numbers[0] == numbers[3], "equal answers are kept once"
    assert wrong.tolist() == [False, False, True, False, True]
    assert counts.checked == 5
    assert counts.compared == 3
    assert counts.wrong == 2
    assert counts.problems == {"score differs from the reference": 1, "cannot be read": 1}
    assert counts.max_score_error == pytest.approx(0.25)


def test_a_score_at_the_tolerance_is_right() -> None:
    calls = sentiment_calls(Texts(("+",)))
    book = AnswerBook(calls)
    number = book.keep(0, encoded(calls[0], answers_to(["+"])))

    _, wrong = book.check(np.array([number]), {0: np.array([0.5])}, tolerance=0.25)

    assert wrong.tolist() == [False]


def test_no_answers() -> None:
    counts, wrong = AnswerBook(()).check(np.array([], np.int64), {}, tolerance=1)

    assert (counts.checked, counts.wrong, len(wrong)) == (0, 0, 0)


def test_scores_of_an_answer() -> None:
    (call,) = sentiment_calls(Texts(("+", "b")), rows=2)

    scores = scores_of(encoded(call, answers_to(["+", "b"])))

    assert scores is not None
    assert scores.tolist() == [0.25, 0]
