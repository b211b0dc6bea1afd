"""What a batch meets: an endpoint with texts that mean trouble, and what it writes."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pyarrow.parquet as pq
from endpoint import Arrays, Endpoint, answers_to

from megatick_contract.rejections import Rejection, describe

Row = dict[str, Any]


@dataclass
class Troubled(Endpoint):
    """Refuses blank texts and fails on ``crash``; counts how often it answered each text.

    Attributes:
        seen: answers by text.
        digest: of the model that it says it serves.
        halt_at: once so many texts are answered, it stands still; None lets it go on.
        out_of_order: every call answers as if it had crashed.
        listed: how many bad rows a refusal names.
    """

    seen: Counter[str] = field(default_factory=Counter)
    digest: str = "d1" * 32
    halt_at: int | None = None
    out_of_order: bool = False
    listed: int = 1000
    _counting: threading.Lock = field(default_factory=threading.Lock)

    @property
    def halted(self) -> bool:
        """Whether it has answered as many texts as it was to."""
        return self.halt_at is not None and self.seen.total() >= self.halt_at

    def check(self, texts: list[str], context: Any) -> None:
        while self.halted and context.is_active():
            time.sleep(0.01)
        blank = [
            Rejection(row, "TEXT", "is blank")
            for row, text in enumerate(texts)
            if not text.strip()
        ]
        if blank:
            context.abort(
                grpc.StatusCode.INVALID_ARGUMENT,
                describe(blank[: self.listed], rows=len(texts)),
            )
        if self.out_of_order or "crash" in texts:
            context.abort(grpc.StatusCode.INTERNAL, "told to crash")

    def answers(self, texts: list[str]) -> Arrays:
        with self._counting:
            self.seen.update(texts)
        digest = np.full((len(texts), 1), self.digest.encode(), object)
        return {**answers_to(texts), "MODEL_DIGEST": digest}


def score_of(text: str) -> float:
    """What the endpoint gives a text, see ``endpoint``."""
    plusses = text.count("+")
    return plusses / (3 + plusses)


def text_of(number: int) -> str:
    """A text that no other number has, and whose score tells the number modulo 7."""
    return f"headline {number} {'+' * (number % 7)}"


def rows_of(output: Path) -> list[Row]:
    """The rows of a written output."""
    if output.suffix == ".parquet":
        rows: list[Row] = pq.read_table(output).to_pylist()
        return rows
    return [json.loads(line) for line in output.read_text().splitlines()]


def errors_of(output: Path) -> list[Row]:
    """The rows that were not scored."""
    path = output.with_name(output.name + ".errors.jsonl")
    return [json.loads(line) for line in path.read_text().splitlines()]
