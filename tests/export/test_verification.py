"""Every way in which a repository may no longer be what was exported."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from megatick_export.errors import RepositoryError
from megatick_export.verification import (
    Drift,
    changed_files,
    compare_answers,
    read_exported,
)

FILES = {
    "language_model/1/model.onnx": b"graph",
    "language_model/config.pbtxt": b"config",
    "sentiment/1/.gitkeep": b"",
}
DIGESTS = ("scorer/1/model_digest.txt", "price_forecast/1/model_digest.txt")
PROBE = {
    "texts": ["up", "down"],
    "probabilities": [[0.25, 0.25, 0.5], [0.5, 0.25, 0.25]],
    "tolerance": 0.01,
    "embedding": None,
}


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def digest(files: dict[str, str]) -> str:
    """Of one line a file, in order of name: its hash, two spaces, its name."""
    lines = [f"{files[name]}  {name}\n" for name in sorted(files)]
    return sha256("".join(lines).encode())


def write_receipt(repository: Path, files: dict[str, str], **changes: Any) -> None:
    receipt = {
        "files": files,
        "model_digest": digest(files),
        "target": "cpu",
        "precision": "bf16",
        "max_tokens": 96,
    }
    (repository / "receipt.json").write_text(json.dumps(receipt | changes))


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Files and a receipt of them, as an export for a CPU writes them."""
    contents = {**FILES, "probe.json": json.dumps(PROBE).encode()}
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    hashes = {name: sha256(content) for name, content in contents.items()}
    for name in DIGESTS:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(digest(hashes) + "\n")
    (tmp_path / "receipt.html").write_text("<p>")
    write_receipt(tmp_path, hashes)
    return tmp_path


def drifts(repository: Path) -> list[tuple[str, str]]:
    return [(each.what, each.problem) for each in changed_files(read_exported(repository))]


def receipt(repository: Path) -> Any:
    return json.loads((repository / "receipt.json").read_text())


def test_what_was_exported_has_not_changed(repository: Path) -> None:
    cache = repository / "language_model/1/__pycache__"
    cache.mkdir()
    (cache / "model.cpython-311.pyc").write_bytes(b"what a server leaves")

    assert drifts(repository) == []


def test_one_flipped_bit_of_the_graph_is_told_with_both_hashes(repository: Path) -> None:
    (repository / "language_model/1/model.onnx").write_bytes(b"gr\x60ph")

    (drift,) = changed_files(read_exported(repository))

    assert drift == Drift(
        "language_model/1/model.onnx", "changed", sha256(b"graph"), sha256(b"gr\x60ph")
    )


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        pytest.param(
            lambda at: (at / "language_model/config.pbtxt").write_text("config "),
            [("language_model/config.pbtxt", "changed")],
            id="config",
        ),
        pytest.param(
            lambda at: (at / "language_model/config.pbtxt").unlink(),
            [("language_model/config.pbtxt", "missing")],
            id="missing",
        ),
        pytest.param(
            lambda at: (at / "language_model/1/model.py").write_text("import os"),
            [("language_model/1/model.py", "added")],
            id="added",
        ),
        pytest.param(
            lambda at: (at / "sentiment/receipt.html").write_text("added"),
            [("sentiment/receipt.html", "added")],
            id="added-under-a-name-that-is-not-hashed-elsewhere",
        ),
        pytest.param(
            lambda at: (at / "language_model/1/model.plan").write_bytes(b"engine"),
            [("language_model/1/model.plan", "added")],
            id="an-engine-where-none-is-built",
        ),
        pytest.param(
            lambda at: (at / "probe.json").write_text(json.dumps(PROBE | {"tolerance": 1})),
            [("probe.json", "changed")],
            id="probe",
        ),
        pytest.param(
            lambda at: (at / DIGESTS[0]).write_text("0" * 64),
            [(DIGESTS[0], "changed")],
            id="what-replies-carry",
        ),
        pytest.param(
            lambda at: (at / DIGESTS[1]).unlink(),
            [(DIGESTS[1], "missing")],
            id="no-digest",
        ),
    ],
)
def test_each_change_is_told(
    repository: Path,
    change: Callable[[Path], object],
    expected: list[tuple[str, str]],
) -> None:
    change(repository)

    assert drifts(repository) == expected


def test_a_receipt_that_hides_a_change_contradicts_the_digest(repository: Path) -> None:
    exported = receipt(repository)
    hidden = exported["files"] | {"language_model/1/model.onnx": sha256(b"other")}
    (repository / "language_model/1/model.onnx").write_bytes(b"other")
    write_receipt(repository, hidden, model_digest=exported["model_digest"])

    assert drifts(repository) == [
        ("model digest", "changed"),
        *((name, "changed") for name in sorted(DIGESTS)),
    ]


def test_an_engine_that_was_built_is_no_change(repository: Path) -> None:
    (repository / DIGESTS[0]).rename(repository / "sentiment_scores_digest")
    (repository / "sentiment_scores/1").mkdir(parents=True)
    (repository / "sentiment_scores_digest").rename(
        repository / "sentiment_scores/1/model_digest.txt"
    )
    write_receipt(repository, receipt(repository)["files"], target="tensorrt")
    (repository / "language_model/1/model.plan").write_bytes(b"engine")
    (repository / "language_model/engine.json").write_text("{}")

    assert drifts(repository) == []


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("receipt.json", None, "cannot be read", id="no-receipt"),
        pytest.param("receipt.json", b"{", "is not JSON", id="cut-off"),
        pytest.param("receipt.json", b"\xff", "is not JSON", id="not-utf-8"),
        pytest.param("receipt.json", b"[]", "a JSON object", id="a-list"),
        pytest.param("receipt.json", b"{}", "KeyError: 'files'", id="empty"),
        pytest.param("probe.json", None, "cannot be read", id="no-probe"),
        pytest.param(
            "probe.json", b'{"texts": 1, "probabilities": []}', "TypeError", id="no-texts"
        ),
        pytest.param(
            "probe.json",
            json.dumps(PROBE | {"probabilities": [[1, 0, 0]]}).encode(),
            "2 texts and 1 answers",
            id="one-answer",
        ),
    ],
)
def test_a_damaged_receipt_or_probe_is_an_error(
    repository: Path, name: str, content: bytes | None, problem: str
) -> None:
    if content is None:
        (repository / name).unlink()
    else:
        (repository / name).write_bytes(content)

    with pytest.raises(RepositoryError) as refused:
        read_exported(repository)

    assert problem in str(refused.value)
    assert str(repository) in str(refused.value)


@pytest.mark.parametrize(
    ("found", "error", "flips", "good"),
    [
        pytest.param(PROBE["probabilities"], 0.0, 0, True, id="equal"),
        pytest.param([[0.245, 0.255, 0.5], [0.5, 0.25, 0.25]], 0.005, 0, True, id="within"),
        pytest.param([[0.2, 0.3, 0.5], [0.2, 0.3, 0.5]], 0.3, 1, False, id="beyond"),
        pytest.param([[np.nan] * 3, [0.5, 0.25, 0.25]], np.nan, 1, False, id="nan"),
    ],
)
def test_answers_by_hand(
    repository: Path, found: list[list[float]], error: float, flips: int, good: bool
) -> None:
    exported = read_exported(repository)

    answers = compare_answers("asked", np.array(found, np.float32), exported)

    assert answers.max_probability_error == pytest.approx(error, nan_ok=True, abs=1e-6)
    assert (answers.label_flips, answers.good) == (flips, good)
    assert (answers.texts, answers.tolerance) == (2, 0.01)
