from __future__ import annotations

import numpy as np
import pytest

from megatick_training.errors import EvaluationError
from megatick_training.evaluation.sentiment_baselines import (
    loughran_mcdonald,
    tfidf_logistic_regression,
    vader,
)

TEXTS = (
    "The company reported a loss after litigation and bankruptcy",
    "The meeting takes place in Helsinki on Tuesday",
    "Profitability improved, an excellent achievement",
)


def test_the_lexicons_name_what_their_words_say() -> None:
    assert loughran_mcdonald(TEXTS).tolist() == [0, 1, 2]
    assert vader(TEXTS).tolist() == [0, 1, 2]


def test_the_financial_lexicon_is_not_the_general_one() -> None:
    text = ["Tax liability is a cost of capital"]  # the paper's title asks when it is bad

    assert loughran_mcdonald(text).tolist() == [1]


def test_words_and_pairs_that_were_learnt_are_told() -> None:
    words = {0: "shares fall", 1: "shares trade", 2: "shares rise"}
    classes = np.array([0, 1, 2] * 10, np.intp)
    train = [f"{words[each]} {number}" for number, each in enumerate(classes)]

    told = tfidf_logistic_regression(train, classes, ["will rise", "will fall", "trade"])

    assert told.argmax(axis=1).tolist() == [2, 0, 1]
    np.testing.assert_allclose(told.sum(axis=1), 1)


@pytest.mark.parametrize(
    ("train", "classes", "found"),
    [
        (["shares rise"] * 30, [2] * 30, "{'positive': 30}"),
        (["shares rise"] * 34, [2] * 30 + [0] * 4, "{'negative': 4, 'positive': 30}"),
        (["a", "b"] * 15, [0, 2] * 15, "empty vocabulary"),
    ],
)
def test_what_it_cannot_be_fitted_on_is_told(
    train: list[str], classes: list[int], found: str
) -> None:
    with pytest.raises(EvaluationError) as caught:
        tfidf_logistic_regression(train, np.array(classes, np.intp), ["shares rise"])

    assert found in str(caught.value)
    assert "or leave it out" in str(caught.value)
