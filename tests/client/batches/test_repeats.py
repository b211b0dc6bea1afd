"""Equal texts scored once: within a request, in flight, and after a resume."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from batch_world import Troubled, errors_of, rows_of, score_of, text_of
from full_disk import files_of_at_most

from megatick_client import Client
from megatick_client.batches import BatchStopped
from megatick_client.batches.answers import Answers
from megatick_client.batches.one_model import OneModel
from megatick_client.batches.repeats import Repeats


class Lengths:
    """Scores a text by its length, and notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[Any]] = []
        self.may_answer = threading.Event()
        self.may_answer.set()

    def __call__(self, texts: Sequence[Any]) -> Answers:
        self.asked.append(list(texts))
        assert self.may_answer.wait(10)
        if "fails" in texts:
            raise RuntimeError("told to fail")
        answers = Answers.blank(len(texts))
        for place, text in enumerate(texts):
            if text is None:
                answers.problems[place] = "is none"
            else:
                answers.score[place] = len(text) / 8
                answers.probabilities[place] = (0.25, 0.25, 0.5)
                answers.tokens[place] = len(text)
                answers.truncated[place] = len(text) > 3
        return answers


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    scorer = Lengths()
    with Repeats(scorer, tmp_path / "answers.sqlite", OneModel("d1")) as repeats:
        first = repeats(["aa", None, "bbbb", "aa"])
        again = repeats(["bbbb", None, "aa"])

    assert scorer.asked == [["aa", None, "bbbb"], [None]]  # no answer, so asked again
    assert first.score.tolist() == [0.25, 0.0, 0.5, 0.25]
    assert first.problems == again.problems == {1: "is none"}
    assert again.score.tolist() == [0.5, 0.0, 0.25]
    assert again.probabilities[0].tolist() == [0.25, 0.25, 0.5]
    assert again.tokens.tolist() == [4, 0, 2]
    assert again.truncated.tolist() == [True, False, False]


def test_a_text_in_flight_is_waited_for(tmp_path: Path) -> None:
    scorer = Lengths()
    scorer.may_answer.clear()
    with (
        Repeats(scorer, tmp_path / "answers.sqlite", OneModel("d1")) as repeats,
        ThreadPoolExecutor() as pool,
    ):
        first = pool.submit(repeats, ["aa"])
        while not scorer.asked:
            pass
        second = pool.submit(repeats, ["aa"])
        scorer.may_answer.set()

        assert first.result().score.tolist() == second.result().score.tolist() == [0.25]
        assert scorer.asked == [["aa"]]


def test_who_waits_for_a_text_learns_that_it_failed(tmp_path: Path) -> None:
    scorer = Lengths()
    with Repeats(scorer, tmp_path / "answers.sqlite", OneModel("d1")) as repeats:
        with pytest.raises(RuntimeError, match="told to fail"):
            repeats(["aa", "fails"])
        assert repeats(["aa"]).score.tolist() == [0.25]  # and may be asked about again


def test_a_full_disk_is_told_to_whoever_asks(tmp_path: Path) -> None:
    with (
        Repeats(Lengths(), tmp_path / "answers.sqlite", OneModel("d1")) as repeats,
        ThreadPoolExecutor() as pool,
    ):
        with files_of_at_most(1), pytest.raises(sqlite3.Error):
            repeats(["aa"])
        # It is in flight no more: who asks again does not wait for the answer of before.
        again = pool.submit(repeats, ["aa"])
        assert again.result(timeout=10).score.tolist() == [0.25]


def test_another_model_s_answers_are_dropped(tmp_path: Path) -> None:
    path = tmp_path / "answers.sqlite"
    asked: list[list[str]] = []
    for digest in ("d1", "d1", "e2", ""):
        scorer = Lengths()
        with Repeats(scorer, path, OneModel(digest)) as repeats:
            repeats(["aa"])
        asked += scorer.asked or [[]]

    assert asked == [["aa"], [], ["aa"], ["aa"]]


def test_a_batch_and_its_resume(client: Client, endpoint: Troubled, tmp_path: Path) -> None:
    texts = [text_of(n % 50) for n in range(2000)]
    source = tmp_path / "news.csv"
    source.write_text("text\n" + "\n".join(texts) + '\n" "\n')
    output = tmp_path / "scores.jsonl"
    endpoint.refuse = range(1, 10**6)
    with pytest.raises(BatchStopped):
        client.batches.submit(source, output=output, dedupe=True, patience_s=0, in_flight=1)
    endpoint.refuse = range(0)
    client.batches.resume(output)

    assert sorted(endpoint.seen) == sorted(map(text_of, range(50)))
    assert set(endpoint.seen.values()) == {1}
    assert [row["text"] for row in rows_of(output)] == texts
    for row in rows_of(output):
        assert row["score"] == pytest.approx(score_of(row["text"]), abs=1e-6)
    assert [error["row"] for error in errors_of(output)] == [2000]
    assert not (tmp_path / "scores.jsonl.job" / "answers.sqlite").exists()


def test_answers_of_two_models_are_not_mixed(
    client: Client, endpoint: Troubled, tmp_path: Path
) -> None:
    """The first run answers some texts, and stops before a block of rows is done."""
    source = tmp_path / "news.csv"
    source.write_text("text\n" + "\n".join(map(text_of, range(200))))
    output = tmp_path / "scores.jsonl"
    endpoint.refuse = range(1, 10**6)
    with pytest.raises(BatchStopped):
        client.batches.submit(source, output=output, dedupe=True, patience_s=0, in_flight=1)
    endpoint.refuse, endpoint.digest = range(0), "e2" * 32

    with pytest.raises(BatchStopped, match="the batch began with d1d1"):
        client.batches.resume(output)

    assert client.batches.status(output).model_digest == "d1" * 32
