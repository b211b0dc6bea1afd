"""Equal texts scored once, however far apart they are.

The answers are kept in SQLite beside the job: memory stays bounded, and a resume finds
those of the run before, unless another model gave them.  A text that is in flight is not
sent again; who has it as well waits for that answer.
"""

from __future__ import annotations

import hashlib
import sqlite3
import struct
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from typing import Any, Final, Self, TypeAlias

import numpy as np

from megatick_client.batches.answers import Answers
from megatick_client.batches.one_model import OneModel
from megatick_client.batches.pipeline import Score
from megatick_contract import LABELS

_ANSWER: Final = struct.Struct(f"<{len(LABELS)}ffi?")
"""The probabilities, the score, the tokens, and whether the text was cut."""

_Key: TypeAlias = bytes
_Told: TypeAlias = bytes | str
"""An answer as it is kept; or why there is none, which is not kept."""


class Repeats:
    """A scorer that remembers.  Safe to share between threads.

    Use it as a context manager; it closes its file.

    Args:
        score: who is asked about texts that are new.
        path: where answers are kept.
        model: that the scorer's answers come from; those of another one are dropped.

    Raises:
        sqlite3.Error: the file cannot be written.
    """

    def __init__(self, score: Score, path: Path, model: OneModel) -> None:
        self._score = score
        self._model = model
        self._lock = threading.Lock()
        self._in_flight: dict[_Key, Future[_Told]] = {}
        self._known = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        # What a crash of the machine may take is asked once more; the file stays sound.
        self._known.execute("PRAGMA journal_mode = WAL")
        self._known.execute("PRAGMA synchronous = NORMAL")
        self._known.execute(
            "CREATE TABLE IF NOT EXISTS answers (key BLOB PRIMARY KEY, told BLOB) "
            "WITHOUT ROWID"
        )
        self._known.execute("CREATE TABLE IF NOT EXISTS model (digest TEXT PRIMARY KEY)")
        if self._known.execute("SELECT digest FROM model").fetchall() != [(model.digest,)]:
            self._known.execute("DELETE FROM answers")
            self._known.execute("DELETE FROM model")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._known.close()

    def __call__(self, texts: Sequence[Any]) -> Answers:
        """Answer texts; ask about those of them that are new, each once.

        Raises:
            sqlite3.Error: answers cannot be kept, as on a full disk.
            Exception: whatever the scorer raised about a text of these.
        """
        answers = Answers.blank(len(texts))
        keys = [_key(text) for text in texts]
        mine: dict[_Key, int] = {}
        with self._lock:
            told: dict[_Key, _Told] = dict(self._look_up(keys))
            theirs = {
                key: self._in_flight[key]
                for key in keys
                if key in self._in_flight and key not in told
            }
            for place, key in enumerate(keys):
                if key not in told and key not in theirs and key not in mine:
                    mine[key] = place
                    self._in_flight[key] = Future()
        told.update(self._ask(mine, texts))
        told.update((key, future.result()) for key, future in theirs.items())
        for place, key in enumerate(keys):
            _put(answers, place, told[key])
        return answers

    def _ask(self, mine: dict[_Key, int], texts: Sequence[Any]) -> dict[_Key, _Told]:
        """Ask about the texts at these places, keep the answers, and tell who waits."""
        if not mine:
            return {}
        try:
            found = self._score([texts[place] for place in mine.values()])
            told = {key: _told(found, place) for place, key in enumerate(mine)}
            with self._lock:
                self._keep(told)
        except BaseException as error:
            with self._lock:
                for key in mine:
                    self._in_flight.pop(key).set_exception(error)
            raise
        with self._lock:
            for key, each in told.items():
                self._in_flight.pop(key).set_result(each)
        return told

    def _look_up(self, keys: Sequence[_Key]) -> Sequence[tuple[_Key, bytes]]:
        marks = ",".join("?" * len(keys))
        query = f"SELECT key, told FROM answers WHERE key IN ({marks})"  # noqa: S608  marks
        with closing(self._known.execute(query, keys)) as found:
            return found.fetchall()

    def _keep(self, told: dict[_Key, _Told]) -> None:
        self._known.execute("BEGIN")
        with self._known:  # commits, or rolls back
            self._known.execute(
                "INSERT OR IGNORE INTO model VALUES (?)", (self._model.digest,)
            )
            self._known.executemany(
                "INSERT OR IGNORE INTO answers VALUES (?, ?)",
                [each for each in told.items() if isinstance(each[1], bytes)],
            )


def _key(text: Any) -> _Key:
    """Name a text; what is no text, or no UTF-8, is named by how Python writes it."""
    kind = b"t" if isinstance(text, str) else b"v"
    written = str(text) if isinstance(text, str) else repr(text)
    raw = written.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(kind + raw, digest_size=16).digest()


def _told(answers: Answers, place: int) -> _Told:
    if place in answers.problems:
        return answers.problems[place]
    return _ANSWER.pack(
        *answers.probabilities[place],
        answers.score[place],
        int(answers.tokens[place]),
        bool(answers.truncated[place]),
    )


def _put(answers: Answers, place: int, told: _Told) -> None:
    if isinstance(told, str):
        answers.problems[place] = told
        return
    *probabilities, score, tokens, truncated = _ANSWER.unpack(told)
    answers.probabilities[place] = np.asarray(probabilities, np.float32)
    answers.score[place] = score
    answers.tokens[place] = tokens
    answers.truncated[place] = truncated
