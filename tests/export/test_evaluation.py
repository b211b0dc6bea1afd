"""What a precision does to the answers, by hand; and every kind of file with texts."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from megatick_contract import LABELS
from megatick_export.errors import OptionsError
from megatick_export.evaluation import (
    INVENTED_TEXTS,
    MOST_TEXTS,
    calibration_error,
    evaluation_texts,
    measure,
    measure_embeddings,
)

TEXTS = ("Profit, up", "Sales fell", "New chair")
NAMES = ("positive", "negative", "neutral")
TABLE = (
    'id,text,label\n1,"Profit, up",positive\n2,Sales fell,negative\n3,New chair,neutral\n'
)
LINES = "".join(
    json.dumps({"text": text, "label": name}) + "\n"
    for text, name in zip(TEXTS, NAMES, strict=True)
)
LN2 = float(np.log(2))


def write_parquet(path: Path) -> None:
    pd.DataFrame({"text": TEXTS, "label": NAMES}).to_parquet(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        pytest.param("a.csv", lambda path: path.write_text(TABLE), id="csv"),
        pytest.param(
            "a.csv.gz",
            lambda path: path.write_bytes(gzip.compress(TABLE.encode())),
            id="gz",
        ),
        pytest.param("a.jsonl", lambda path: path.write_text(LINES), id="jsonl"),
        pytest.param("a.parquet", write_parquet, id="parquet"),
    ],
)
def test_a_table_gives_texts_and_true_classes(
    tmp_path: Path, name: str, write: Callable[[Path], object]
) -> None:
    write(tmp_path / name)

    found = evaluation_texts(tmp_path / name, LABELS)

    assert found.texts == TEXTS
    assert found.classes is not None
    assert found.classes.tolist() == [2, 0, 1], (
        "in the order of negative, neutral, positive"
    )
    assert found.source == str(tmp_path / name)
    assert found.sha256 == hashlib.sha256((tmp_path / name).read_bytes()).hexdigest()


def test_a_text_file_has_a_text_a_line(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(
        "Profit, up\n\n  \nSales fell 4 %, “sharply”\n", "utf-8"
    )

    found = evaluation_texts(tmp_path / "a.txt", LABELS)

    assert found.texts == ("Profit, up", "Sales fell 4 %, “sharply”")
    assert found.classes is None


def test_what_a_reader_of_tables_takes_for_missing_is_a_text(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("text,label\nNA,neutral\n12,neutral\n,neutral\n")

    assert evaluation_texts(tmp_path / "a.csv", LABELS).texts == ("NA", "12")


def test_a_byte_order_mark_is_no_part_of_the_first_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("Profit, up\n", "utf-8-sig")

    assert evaluation_texts(tmp_path / "a.txt", LABELS).texts == ("Profit, up",)


def test_a_category_may_be_missing(tmp_path: Path) -> None:
    table = pd.DataFrame({"text": pd.Categorical(["Profit, up", None])})
    table.to_parquet(tmp_path / "a.parquet")

    assert evaluation_texts(tmp_path / "a.parquet", LABELS).texts == ("Profit, up",)


def test_bytes_are_not_taken_for_their_spelling_in_python(tmp_path: Path) -> None:
    pd.DataFrame({"text": [b"Profit, up"]}).to_parquet(tmp_path / "a.parquet")

    with pytest.raises(OptionsError, match="text in the column text, found 'bytes in "):
        evaluation_texts(tmp_path / "a.parquet", LABELS)


def test_of_many_texts_the_same_are_taken_each_time(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("\n".join(map(str, range(MOST_TEXTS + 500))))

    first, second = (evaluation_texts(tmp_path / "a.txt", LABELS) for _ in range(2))

    assert first.texts == second.texts
    assert len(set(first.texts)) == MOST_TEXTS


def test_without_a_file_headlines_are_invented() -> None:
    found = evaluation_texts(None, LABELS)

    assert len(set(found.texts)) == INVENTED_TEXTS
    assert (found.classes, found.sha256) == (None, None)
    assert found.source == "invented headlines"


@pytest.mark.parametrize(
    ("name", "content", "problem"),
    [
        pytest.param("a.csv", "headline\nx\n", "column named text, found", id="column"),
        pytest.param("a.csv", "text,label\nx,up\n", "labels among negative", id="label"),
        pytest.param("a.csv", "text,label\nx,\n", "labels among negative", id="no-label"),
        pytest.param("a.csv", "text\n", "expected texts, found 'none", id="no-rows"),
        pytest.param("a.csv", "", "a table of texts", id="empty-csv"),
        pytest.param("a.txt", "\n \n", "expected texts, found 'none", id="blank-lines"),
        pytest.param("a.txt", b"\xff\xfe", "a table of texts", id="not-utf-8"),
        pytest.param("a.jsonl", "{", "a table of texts", id="not-json"),
        pytest.param("a.parquet", "text", "a table of texts", id="not-parquet"),
        pytest.param("a.csv", None, "a table of texts", id="absent"),
        pytest.param(
            "a.csv",
            "text\nSales fell, sharply\n",
            "more fields than the header",
            id="comma",
        ),
        pytest.param(
            "a.csv.gz", gzip.compress(TABLE.encode())[:-9], "a table of texts", id="cut-gz"
        ),
        pytest.param("a.csv.xz", TABLE, "a table of texts", id="not-xz"),
        pytest.param("a.csv.zip", TABLE, "a table of texts", id="not-zip"),
        pytest.param("a.jsonl", '{"text": ["x"]}\n', "text, found 'list", id="list"),
        pytest.param("a.xlsx", "text\nx\n", ".csv, .jsonl, .parquet or .txt", id="kind"),
    ],
)
def test_a_file_without_texts_is_refused(
    tmp_path: Path, name: str, content: str | bytes | None, problem: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content.encode() if isinstance(content, str) else content)

    with pytest.raises(OptionsError, match="calibration: expected ") as refused:
        evaluation_texts(path, LABELS)

    assert problem in str(refused.value)
    assert str(path) in str(refused.value)


def test_errors_by_hand() -> None:
    # softmax of (0, 0, ln 2) is (1, 1, 2) / 4: a score of 2/4 - 1/4.
    reference = np.array([[0, 0, LN2], [0, 0, 0], [LN2, 0, 0]], np.float32)
    found = np.array([[0, 0, LN2], [0, LN2, 0], [0, 0, LN2]], np.float32)

    errors = measure(found, reference, np.array([2, 1, 0]))

    # Scores: 1/4, 0, 1/4 for 1/4, 0, -1/4.  The most probable: 2, 1, 2 for 2, 0, 0.
    assert errors.max_logit_error == pytest.approx(LN2)
    assert errors.label_flips == 2
    assert errors.score_error == pytest.approx(0.5 / 3)
    assert errors.max_score_error == pytest.approx(0.5)
    assert errors.texts == 3
    assert errors.accuracy == pytest.approx(2 / 3)
    # All are 50 % sure, and two thirds of them right.
    assert errors.calibration_error == pytest.approx(2 / 3 - 1 / 2)


def test_without_true_classes_nothing_is_said_of_them() -> None:
    errors = measure(np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32), None)

    assert (errors.accuracy, errors.calibration_error) == (None, None)
    assert (errors.label_flips, errors.score_error) == (0, 0.0)


def test_one_answer_that_is_no_number_shows() -> None:
    found = np.array([[0, 0, 1], [0, np.nan, 1]], np.float32)

    errors = measure(found, np.zeros((2, 3), np.float32), None)

    assert np.isnan([errors.max_logit_error, errors.score_error]).all()


@pytest.mark.parametrize(
    ("confidence", "right", "expected"),
    [
        pytest.param([0.9, 0.9], [True, False], 0.4, id="one-bin-0.9-minus-1/2"),
        # Bins of 1/15: 0.61 and 0.65 share the tenth, 0.95 has the last.
        pytest.param(
            [0.61, 0.65, 0.95],
            [True, False, True],
            2 / 3 * (0.63 - 0.5) + 1 / 3 * 0.05,
            id="two-bins",
        ),
        pytest.param([1.0, 1.0], [True, True], 0.0, id="sure-and-right"),
        pytest.param([1.0], [False], 1.0, id="sure-and-wrong"),
    ],
)
def test_calibration_error_by_hand(
    confidence: list[float], right: list[bool], expected: float
) -> None:
    predicted = np.array([[each, 1 - each, 0] for each in confidence], np.float32)

    found = calibration_error(predicted, np.array(right))

    assert found == pytest.approx(expected, abs=1e-6)


def test_embeddings_are_compared_by_angle_and_by_number() -> None:
    reference = np.array([[3, 4], [-10, 0]], np.float32)
    found = np.array([[4, 3], [-5, 0]], np.float32)

    errors = measure_embeddings(found, reference)

    # (3 * 4 + 4 * 3) / (5 * 5) = 24 / 25, and 1 where only the length differs.
    assert errors.min_cosine == pytest.approx(0.96)
    assert errors.mean_cosine == pytest.approx(0.98)
    assert (errors.max_abs_diff, errors.max_abs) == (5.0, 10.0)


@pytest.mark.parametrize("broken", [np.nan, np.inf])
def test_an_embedding_that_is_no_number_shows_in_every_figure(broken: float) -> None:
    reference = np.array([[3, 4], [1, 0]], np.float32)
    found = reference.copy()
    found[0, 1] = broken

    errors = measure_embeddings(found, reference)

    assert np.isnan([errors.min_cosine, errors.mean_cosine]).all()
    assert not np.isfinite(errors.max_abs_diff)
