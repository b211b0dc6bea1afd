"""Which precision is the fastest that keeps the answers?  By measurement, never by name."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

from megatick_contract.packing import plan_batches
from megatick_export.errors import BudgetError
from megatick_export.evaluation import (
    EmbeddingErrors,
    Errors,
    measure,
)
from megatick_export.options import Precision
from megatick_export.parity import Outputs, Rows, run_in_batches
from megatick_export.precision.candidates import Candidate, Workbench

_ROUNDS: Final = 3


@dataclass(frozen=True)
class Trial:
    """One precision, tried.

    Attributes:
        precision: its name.
        engine: what ran it for these figures.
        float32: parts of the network that were kept in float32.
        layers_16_bit: numbers of layers that FP8 or INT8 left in a higher precision.
        errors: against the float32 graph, on the evaluation texts.
        embedding: the same of the embeddings; None where the graph gives none.
        texts_per_s: such texts a second, in full batches on this machine, timed in turn
            with the others; None where this machine cannot run what will be served.
        graph_bytes: size of the graph, weights included.
        rejected: why it is not within the budgets; None if it is.
        chosen: it is what was exported.
    """

    precision: Precision
    engine: str
    float32: tuple[str, ...]
    layers_16_bit: tuple[int, ...]
    errors: Errors
    texts_per_s: float | None
    graph_bytes: int
    rejected: str | None
    embedding: EmbeddingErrors | None = None
    chosen: bool = False

    @property
    def verdict(self) -> str:
        """Chosen, within the budgets, or why it was rejected."""
        return self.rejected or ("chosen" if self.chosen else "within budget")


@dataclass(frozen=True)
class Choice:
    """The precision that is exported.

    Attributes:
        precision: its name.
        graph: its ONNX file, in the workbench's folder.
        answers: its own to the rows that were asked for.  What gave them is not kept: it
            holds a copy of the weights.
        trials: all that were tried, the chosen one among them.
    """

    precision: Precision
    graph: Path
    answers: Outputs
    trials: tuple[Trial, ...]


def choose(
    bench: Workbench,
    precisions: Sequence[Precision],
    *,
    ask: Rows,
    progress: Callable[[str], None],
) -> Choice:
    """Try precisions on the evaluation texts, and take the fastest within the budgets.

    Args:
        bench: what is exported, and what it is measured with.
        precisions: to try; a single one is taken if it is within the budgets.
        ask: int32 tokens of the rows that the chosen one is to answer besides.
        progress: called with a few words as each begins.

    Raises:
        BudgetError: none is within the budgets.
    """
    tried: list[tuple[Trial, Candidate]] = []
    for precision in precisions:
        progress(f"trying {precision}")
        candidate = bench.candidate(precision)
        found = candidate.outputs or run_in_batches(
            candidate.engine, bench.rows, max_batch_tokens=bench.max_batch_tokens
        )
        errors = measure(found.logits, bench.reference.logits, bench.texts.classes)
        trial = Trial(
            precision=precision,
            engine=candidate.engine_name,
            float32=candidate.float32,
            layers_16_bit=candidate.layers_16_bit,
            errors=errors,
            embedding=found.embedding_errors(bench.reference),
            texts_per_s=None,
            graph_bytes=_size(candidate.graph),
            rejected=candidate.refused or bench.budgets.exceeded(errors),
        )
        tried.append((trial, candidate))
    progress("timing")
    speeds = _speeds([candidate for _, candidate in tried], bench)
    trials = [
        replace(trial, texts_per_s=speed)
        for (trial, _), speed in zip(tried, speeds, strict=True)
    ]
    good = [number for number, trial in enumerate(trials) if trial.rejected is None]
    if not good:
        reasons = "; ".join(f"{each.precision}: {each.rejected}" for each in trials)
        raise BudgetError(reasons, texts=bench.texts.source)
    best = max(good, key=lambda number: trials[number].texts_per_s or 0.0)
    trials[best] = replace(trials[best], chosen=True)
    _, candidate = tried[best]
    answers = run_in_batches(candidate.engine, ask, max_batch_tokens=bench.max_batch_tokens)
    return Choice(trials[best].precision, candidate.graph, answers, tuple(trials))


def _speeds(candidates: Sequence[Candidate], bench: Workbench) -> list[float | None]:
    """Time one full batch in every engine in turn, of texts of a middling length.

    Returns:
        Texts a second, of the mean length: by tokens, and the median of the rounds.
    """
    lengths = [len(row) for row in bench.rows]
    plan = plan_batches(lengths, max_batch_tokens=bench.max_batch_tokens)
    rows: Rows = [bench.rows[row] for row in plan[len(plan) // 2]]
    texts = sum(map(len, rows)) / statistics.mean(lengths)
    seconds: list[list[float]] = [[] for _ in candidates]
    for _ in range(_ROUNDS):
        for candidate, taken in zip(candidates, seconds, strict=True):
            if candidate.timed:
                started = time.perf_counter()
                candidate.engine(rows)
                taken.append(time.perf_counter() - started)
    return [texts / statistics.median(taken) if taken else None for taken in seconds]


def _size(graph: Path) -> int:
    """Bytes of the graph and of the weights that may lie beside it."""
    beside = graph.with_name(f"{graph.name}.data")
    return sum(file.stat().st_size for file in (graph, beside) if file.is_file())
