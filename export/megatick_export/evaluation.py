"""The texts that precisions are measured on, and what is measured on them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from numbers import Real
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from megatick_export.errors import OptionsError
from megatick_export.hashes import sha256
from megatick_export.headlines import headlines

if TYPE_CHECKING:
    import pandas as pd

MOST_TEXTS: Final = 2000
"""Of a user's file; 1 flip of them is a quarter of the default budget."""

INVENTED_TEXTS: Final = 512
"""Where there is no file; 1 flip of them is still within the default budget of 0.2 %."""

_COMPRESSED: Final = frozenset({".gz", ".bz2", ".zip", ".xz", ".zst"})
"""Endings that pandas undoes by itself."""

INVENTED_FOR_FLOAT32: Final = 64
"""Where only float32 is asked for, which is compared with itself."""

_BINS: Final = 15
"""Of confidence, in the calibration error: as in its source."""

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class EvaluationTexts:
    """Texts to measure on.

    Attributes:
        texts: what they say.
        classes: index of each text's true label, shape (texts,); None where unknown.
        source: the file, or what made them.
        sha256: of the file; None for invented texts.
    """

    texts: tuple[str, ...]
    classes: npt.NDArray[np.intp] | None
    source: str
    sha256: str | None

    def take(self, kept: npt.NDArray[np.bool_]) -> EvaluationTexts:
        """Those that are True in ``kept``, shape (texts,)."""
        texts = tuple(itertools.compress(self.texts, kept))
        classes = None if self.classes is None else self.classes[kept]
        return replace(self, texts=texts, classes=classes)


@dataclass(frozen=True)
class Errors:
    """What a lower precision does to the answers.

    Attributes:
        max_logit_error: largest absolute difference of a logit; NaN if one is NaN.
        label_flips: texts whose most probable class differs.
        score_error: mean absolute difference of the score, P(last) - P(first) class,
            which is P(positive) - P(negative) of the contract's classes; in [0, 2].
        max_score_error: the largest of them.
        texts: how many were compared.
        accuracy: share of texts whose most probable class is the true one; None without
            labels.
        calibration_error: expected calibration error; None without labels.
    """

    max_logit_error: float
    label_flips: int
    score_error: float
    max_score_error: float
    texts: int
    accuracy: float | None
    calibration_error: float | None


@dataclass(frozen=True)
class EmbeddingErrors:
    """What a lower precision does to the embeddings.

    Attributes:
        min_cosine: smallest cosine between a text's embedding and the reference's, in
            [-1, 1]; NaN if one is not finite.
        mean_cosine: their mean.
        max_abs_diff: largest absolute difference of a number; NaN if one is NaN.
        max_abs: largest absolute number of the reference, which that is to be read by.
    """

    min_cosine: float
    mean_cosine: float
    max_abs_diff: float
    max_abs: float


def evaluation_texts(
    path: Path | None, labels: Sequence[str], *, invented: int = INVENTED_TEXTS
) -> EvaluationTexts:
    """Read a user's texts, or invent some.

    Args:
        path: a table (.csv or .jsonl, perhaps compressed, or .parquet) with the column
            ``text`` and perhaps ``label``, or a plain ``.txt`` with a text a line.  Of
            more than ``MOST_TEXTS``, a seeded choice is taken.  None invents headlines.
        labels: of the classes; a label that is none of them is refused.
        invented: how many headlines to invent.

    Raises:
        OptionsError: the file is absent, has no such column, no text, or unknown labels.
    """
    if path is None:
        texts = tuple(headlines(invented))
        return EvaluationTexts(texts, None, "invented headlines", None)
    table = _read_table(path)
    if "text" not in table:
        raise OptionsError(
            "calibration",
            expected="a column named text",
            found=f"{path} with {', '.join(map(str, table.columns))}",
        )
    column = table["text"]
    given: list[Any] = [
        "" if missing else cell for cell, missing in zip(column, column.isna(), strict=True)
    ]
    strange = {type(each).__name__ for each in given if not isinstance(each, str | Real)}
    if strange:
        raise OptionsError(
            "calibration",
            expected="text in the column text",
            found=f"{', '.join(sorted(strange))} in {path}",
        )
    table = table[[bool(str(each).strip()) for each in given]]
    if table.empty:
        raise OptionsError("calibration", expected="texts", found=f"none in {path}")
    if len(table) > MOST_TEXTS:
        table = table.sample(MOST_TEXTS, random_state=0)
    classes = None
    if "label" in table:
        named = [str(each) for each in table["label"]]
        unknown = sorted(set(named) - set(labels))
        if unknown:
            raise OptionsError(
                "calibration",
                expected=f"labels among {', '.join(labels)}",
                found=f"{', '.join(map(repr, unknown[:5]))} in {path}",
            )
        classes = np.array([list(labels).index(name) for name in named], np.intp)
    texts = tuple(str(each) for each in table["text"])
    return EvaluationTexts(texts, classes, str(path), sha256(path))


def measure(
    logits: Float32Array, reference: Float32Array, classes: npt.NDArray[np.intp] | None
) -> Errors:
    """Compare logits, both (texts, classes), with the reference's."""
    with np.errstate(invalid="ignore"):  # an overflow shows in the figures
        found, expected = probabilities(logits), probabilities(reference)
        moved = np.abs(_score(found) - _score(expected))
    right = None if classes is None else found.argmax(-1) == classes
    return Errors(
        max_logit_error=float(np.abs(logits - reference).max()),
        label_flips=int((logits.argmax(-1) != reference.argmax(-1)).sum()),
        score_error=float(moved.mean()),
        max_score_error=float(moved.max()),
        texts=len(reference),
        accuracy=None if right is None else float(right.mean()),
        calibration_error=None if right is None else calibration_error(found, right),
    )


def measure_embeddings(found: Float32Array, reference: Float32Array) -> EmbeddingErrors:
    """Compare embeddings, both (texts, hidden), with the reference's."""
    exact, expected = found.astype(np.float64), reference.astype(np.float64)
    with np.errstate(invalid="ignore"):  # an overflow shows in the figures
        lengths = np.linalg.norm(exact, axis=-1) * np.linalg.norm(expected, axis=-1)
        cosines = (exact * expected).sum(-1) / lengths
        moved = np.abs(exact - expected)
    return EmbeddingErrors(
        min_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        max_abs_diff=float(moved.max()),
        max_abs=float(np.abs(expected).max()),
    )


def calibration_error(predicted: Float32Array, right: npt.NDArray[np.bool_]) -> float:
    """Expected calibration error: how far confidence is from accuracy, in [0, 1].

    Args:
        predicted: probabilities, shape (texts, classes).
        right: shape (texts,), whether the most probable class is the true one.

    Source: Guo, Pleiss, Sun and Weinberger, On Calibration of Modern Neural Networks,
    2017, equation 3, with 15 bins of equal width.
    """
    confidence = predicted.max(-1)
    bins = np.minimum((confidence * _BINS).astype(int), _BINS - 1)
    gaps = [
        abs(right[bins == each].mean() - confidence[bins == each].mean())
        * (bins == each).mean()
        for each in np.unique(bins)
    ]
    return float(np.sum(gaps))


def _read_table(path: Path) -> pd.DataFrame:
    """Read a file by the ending of its name, that of a compression left out."""
    import pandas as pd

    endings = [each for each in path.suffixes if each not in _COMPRESSED]
    try:
        match endings[-1:]:
            case [".txt"]:
                lines = path.read_text(encoding="utf-8-sig").splitlines()
                return pd.DataFrame({"text": lines})
            case [".csv"]:  # "NA" and "12" are texts, a missing label is none
                table = pd.read_csv(path, dtype=str, keep_default_na=False)
                if not isinstance(table.index, pd.RangeIndex):  # pandas took it from them
                    raise ValueError("rows have more fields than the header has names")
                return table
            case [".jsonl"]:
                return pd.read_json(path, lines=True, dtype=False)
            case [".parquet"]:
                return pd.read_parquet(path)
    except Exception as error:  # each kind of compression has errors of its own
        raise OptionsError(
            "calibration", expected="a table of texts", found=f"{path}: {error}"
        ) from error
    raise OptionsError(
        "calibration",
        expected="a file that ends in .csv, .jsonl, .parquet or .txt",
        found=str(path),
    )


def probabilities(logits: Float32Array) -> Float32Array:
    """Softmax over the last axis: (texts, classes) to the same."""
    shifted = np.exp(logits - logits.max(-1, keepdims=True))
    shares: Float32Array = shifted / shifted.sum(-1, keepdims=True)
    return shares


def _score(probabilities: Float32Array) -> Float32Array:
    score: Float32Array = probabilities[:, -1] - probabilities[:, 0]
    return score
