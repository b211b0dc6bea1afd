"""Is a repository still what was exported?  Its files, and what it answers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from megatick_contract.repository import (
    DIGEST_FILE,
    ENGINE_RECORD_FILE,
    GRAPH_FILE,
    PLAN_FILE,
    PROBE_FILE,
    RECEIPT_FILE,
    RECEIPT_PAGE,
    TOKENIZER_FILE,
)
from megatick_contract.steps import LANGUAGE_MODEL, TELL_THE_DIGEST
from megatick_export.errors import RepositoryError
from megatick_export.evaluation import measure_embeddings, probabilities
from megatick_export.evidence import EmbeddingProbe, Probe
from megatick_export.hashes import model_digest, sha256
from megatick_export.parity import onnxruntime_engine
from megatick_export.tokenizer import tokenized

MODEL_DIGEST: Final = "model digest"
"""The receipt's own, among the things that may have changed."""

_ENGINE_FILES: Final = frozenset(
    {
        f"{LANGUAGE_MODEL.name}/1/{PLAN_FILE}",
        f"{LANGUAGE_MODEL.name}/{ENGINE_RECORD_FILE}",
    }
)

Float32Array = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Exported:
    """What the receipt and the probe of a repository say.

    Attributes:
        path: the repository.
        files: SHA-256 by path relative to it.
        model_digest: of all of them.
        target: what runs it.
        precision: what the graph computes in.
        max_tokens: longest row, in tokens.
        probe: what it must answer.
    """

    path: Path
    files: Mapping[str, str]
    model_digest: str
    target: str
    precision: str
    max_tokens: int
    probe: Probe


@dataclass(frozen=True)
class Drift:
    """One difference from what was exported.

    Attributes:
        what: a file by its path, or ``MODEL_DIGEST``.
        problem: what became of it.
        expected: the receipt's SHA-256, or that of all that it lists; None for what it
            does not list.
        found: the SHA-256 now; None for what is gone.
    """

    what: str
    problem: Literal["changed", "missing", "added"]
    expected: str | None
    found: str | None


@dataclass(frozen=True)
class Answers:
    """Answers to the probe, beside what they should be.

    Attributes:
        asked: what was asked.
        texts: how many.
        max_probability_error: largest absolute difference of a probability.
        tolerance: the largest that is allowed.
        label_flips: texts whose most probable class differs.
    """

    asked: str
    texts: int
    max_probability_error: float
    tolerance: float
    label_flips: int

    @property
    def good(self) -> bool:
        """Whether they are the exported model's; NaN is not."""
        return self.max_probability_error <= self.tolerance


@dataclass(frozen=True)
class EmbeddingAnswers:
    """Embeddings of the probe's texts, beside what they should be.

    Attributes:
        asked: what was asked.
        texts: how many.
        min_cosine: smallest cosine between an embedding and the reference's.
        max_abs_diff: largest absolute difference of a number.
        tolerance: the largest that is allowed.
    """

    asked: str
    texts: int
    min_cosine: float
    max_abs_diff: float
    tolerance: float

    @property
    def good(self) -> bool:
        """Whether they are the exported model's; NaN is not."""
        return self.max_abs_diff <= self.tolerance


def read_exported(path: Path) -> Exported:
    """Read a repository's receipt and probe.

    Raises:
        RepositoryError: one is absent or damaged, or of an older export.
    """
    receipt, probe = (_json(path / name) for name in (RECEIPT_FILE, PROBE_FILE))
    try:
        texts = tuple(map(str, probe["texts"]))
        answers = _table(probe["probabilities"])
        if len(texts) != len(answers):
            raise ValueError(f"{len(texts)} texts and {len(answers)} answers")
        embedding = None
        if (held := probe["embedding"]) is not None:
            embedding = EmbeddingProbe(_table(held["values"]), float(held["tolerance"]))
        return Exported(
            path=path,
            files=dict(receipt["files"]),
            model_digest=str(receipt["model_digest"]),
            target=str(receipt["target"]),
            precision=str(receipt["precision"]),
            max_tokens=int(receipt["max_tokens"]),
            probe=Probe(texts, answers, float(probe["tolerance"]), embedding),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise RepositoryError(
            path,
            f"its {RECEIPT_FILE} or {PROBE_FILE} does not hold what this version writes "
            f"({type(error).__name__}: {error}): export it again",
        ) from error


def changed_files(exported: Exported) -> tuple[Drift, ...]:
    """Hash every file again, and compare with the receipt.

    Python's ``__pycache__``, which a server leaves, is not looked at; nor is the page,
    which nothing reads but people.

    Returns:
        Files in order of path, then digests.
    """
    root = exported.path
    there = {
        file.relative_to(root).as_posix(): file
        for file in root.rglob("*")
        if file.is_file() and "__pycache__" not in file.relative_to(root).parts
    }
    for name in _not_hashed(exported):
        there.pop(name, None)
    drifts = []
    for name in sorted(there.keys() | exported.files.keys()):
        expected = exported.files.get(name)
        found = sha256(there[name]) if name in there else None
        if expected == found:
            continue
        problem: Literal["changed", "missing", "added"] = "changed"
        if found is None:
            problem = "missing"
        elif expected is None:
            problem = "added"
        drifts.append(Drift(name, problem, expected, found))
    return (*drifts, *_digests(exported))


def compare_answers(asked: str, found: Float32Array, exported: Exported) -> Answers:
    """Hold probabilities, (texts, classes), against the probe's."""
    expected = np.array(exported.probe.probabilities, np.float32)
    return Answers(
        asked=asked,
        texts=len(expected),
        max_probability_error=float(np.abs(found - expected).max()),
        tolerance=exported.probe.tolerance,
        label_flips=int((found.argmax(-1) != expected.argmax(-1)).sum()),
    )


def compare_embeddings(
    asked: str, found: Float32Array, probe: EmbeddingProbe
) -> EmbeddingAnswers:
    """Hold embeddings, (texts, hidden), against the probe's."""
    errors = measure_embeddings(found, np.array(probe.values, np.float32))
    return EmbeddingAnswers(
        asked=asked,
        texts=len(probe.values),
        min_cosine=errors.min_cosine,
        max_abs_diff=errors.max_abs_diff,
        tolerance=probe.tolerance,
    )


def ask_graph(exported: Exported) -> list[Answers | EmbeddingAnswers]:
    """Run a bare graph's probe in onnxruntime, with the tokenizer that lies beside it.

    Raises:
        RepositoryError: onnxruntime cannot run the graph on a CPU, or it gives no embedding
            where the probe has some.
    """
    tokenizer = Tokenizer.from_file(str(exported.path / TOKENIZER_FILE))
    rows = tokenized(tokenizer, exported.probe.texts, max_tokens=exported.max_tokens)
    try:
        found = onnxruntime_engine(exported.path / GRAPH_FILE)(rows)
    except Exception as error:  # its classes derive from Exception alone
        raise RepositoryError(
            exported.path / GRAPH_FILE,
            f"onnxruntime cannot run this {exported.precision} graph on a CPU: {error}",
        ) from error
    answers: list[Answers | EmbeddingAnswers] = [
        compare_answers("onnxruntime", probabilities(found.logits), exported)
    ]
    probe = exported.probe.embedding
    if probe is not None:
        if found.embeddings is None:
            raise RepositoryError(
                exported.path / GRAPH_FILE,
                f"gives no embedding, and {PROBE_FILE} has some: export it again",
            )
        embedded = found.embeddings[: len(probe.values)]
        answers.append(compare_embeddings("onnxruntime", embedded, probe))
    return answers


def _not_hashed(exported: Exported) -> frozenset[str]:
    """What a receipt does not list: itself, what comes of it, and what is built later."""
    built = _ENGINE_FILES if exported.target == "tensorrt" else frozenset()
    return frozenset({RECEIPT_FILE, RECEIPT_PAGE}) | _digest_files(exported) | built


def _digest_files(exported: Exported) -> frozenset[str]:
    """The files whose content is the digest of all others; a bare graph has none."""
    steps = TELL_THE_DIGEST.get(exported.target, ())
    return frozenset(f"{step}/1/{DIGEST_FILE}" for step in steps)


def _digests(exported: Exported) -> list[Drift]:
    """Hold the digest, and the copies that replies carry, against the listed files."""
    expected = model_digest(exported.files)
    drifts = []
    if exported.model_digest != expected:
        drifts.append(Drift(MODEL_DIGEST, "changed", expected, exported.model_digest))
    for name in sorted(_digest_files(exported)):
        try:
            found = (exported.path / name).read_text("utf-8").strip()
        except FileNotFoundError:
            drifts.append(Drift(name, "missing", expected, None))
            continue
        if found != expected:
            drifts.append(Drift(name, "changed", expected, found))
    return drifts


def _table(rows: Iterable[Iterable[Any]]) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(map(float, row)) for row in rows)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise RepositoryError(
            path, f"cannot be read: {error.strerror}; `megatick export` writes it"
        ) from error
    except ValueError as error:
        raise RepositoryError(path, f"is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise RepositoryError(path, "expected a JSON object, found something else")
    return value
