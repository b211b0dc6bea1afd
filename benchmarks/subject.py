"""What the benchmarks run: a repository's engine by itself, and the texts it reads."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from megatick_contract.packing import plan_batches
from megatick_export.headlines import headlines
from megatick_export.verification import read_exported
from megatick_server.cpus import usable_cpus
from megatick_server.engine import PackedEngine
from megatick_server.settings import ScorerSettings
from megatick_server.tokenization import TextTokenizer
from megatick_training.labelled_text import read_labelled_texts

Row = npt.NDArray[np.int32]
LOGITS = frozenset({"logits"})


@dataclass(frozen=True)
class Subject:
    """One exported repository for the CPU.

    Attributes:
        repository: its folder.
        settings: of its scorer.
        engine: its graph, compiled as the server compiles it.
        tokenizer: its tokenizer.
    """

    repository: Path
    settings: ScorerSettings
    engine: PackedEngine
    tokenizer: TextTokenizer

    @classmethod
    def of(cls, repository: Path) -> Subject:
        """Load it."""
        version = repository / "scorer" / "1"
        settings = ScorerSettings.model_validate_json(
            (version / "settings.json").read_text()
        )
        return cls(
            repository,
            settings,
            PackedEngine(
                version / "model.onnx",
                precision=settings.precision,
                threads=usable_cpus(),
                input_group=settings.input_group,
            ),
            TextTokenizer(version / "tokenizer.json", max_tokens=settings.max_tokens),
        )

    def about(self) -> dict[str, object]:
        """What a result says of it."""
        receipt = json.loads((self.repository / "receipt.json").read_text())
        return {
            "checkpoint": Path(receipt["checkpoint"]["path"]).name,
            "parameters": receipt["checkpoint"]["parameters"],
            "precision": self.settings.precision,
            "max_batch_tokens": self.settings.max_batch_tokens,
        }

    @property
    def score_tolerance(self) -> float:
        """How far a score may move with its batch."""
        return read_exported(self.repository).probe.score_tolerance

    def rows(self, texts: Sequence[str]) -> list[Row]:
        """Tokenize texts."""
        return [each.input_ids for each in self.tokenizer.encode(texts, truncation="head")]

    def tokenize_s(self, texts: Sequence[str]) -> float:
        """Tokenize texts; returns the seconds."""
        started_s = time.perf_counter()
        self.rows(texts)
        return time.perf_counter() - started_s

    def run(self, rows: Sequence[Row], *, max_batch_tokens: int | None = None) -> float:
        """Run rows with no server, sorted and cut by tokens; returns the seconds."""
        budget = max_batch_tokens or self.settings.max_batch_tokens
        started_s = time.perf_counter()
        for batch in plan_batches([len(row) for row in rows], max_batch_tokens=budget):
            self.engine.run([rows[row] for row in batch], LOGITS)
        return time.perf_counter() - started_s

    def warm_rate(self, rows: Sequence[Row]) -> float:
        """Measure the first 256 rows, a second, once it is warm."""
        self.run(rows[:64])
        return 256 / self.run(rows[:256])


def read_texts(path: Path | None, count: int) -> list[str]:
    """Read a labelled CSV's texts, or invent headlines."""
    if path is None:
        return headlines(count)
    texts = read_labelled_texts(path)
    chosen = np.random.default_rng(0).permutation(len(texts))[:count]
    return list(texts.take(chosen).texts)


def median(values: Sequence[float]) -> float:
    """Middle value."""
    return float(statistics.median(values))
