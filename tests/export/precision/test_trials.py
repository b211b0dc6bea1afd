"""The fastest precision within the budgets is taken, and every trial is told."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bench import ROWS, tiny_network, workbench

from megatick_contract.packing import packed_feed
from megatick_export.errors import BudgetError, EngineError
from megatick_export.options import Precision
from megatick_export.packed import PackedClassifier
from megatick_export.parity import (
    Engine,
    Logits,
    Outputs,
    Rows,
    onnxruntime_session,
    torch_engine,
)
from megatick_export.precision.budgets import Budgets
from megatick_export.precision.candidates import Candidate, Workbench
from megatick_export.precision.trials import Choice, choose
from megatick_export.to_onnx import write_onnx

CERTAIN = np.tile(np.array([0, 0, 4], np.float32), (len(ROWS), 1))
"""The reference: every row is of the last class."""


def engine(answer: Logits, *, takes_s: float = 0.0) -> Engine:
    """Give a row of ``answer`` for each row, by the row's own tokens."""
    places = {row.tobytes(): place for place, row in enumerate(ROWS)}

    def run(rows: Rows) -> Outputs:
        time.sleep(takes_s)
        return Outputs(answer[[places[row.tobytes()] for row in rows]])

    return run


@dataclass(frozen=True)
class Bench(Workbench):
    """Gives candidates that the test made."""

    made: Mapping[Precision, Candidate] = field(default_factory=dict)

    def candidate(self, precision: Precision) -> Candidate:
        return self.made[precision]


@pytest.fixture
def try_out(tmp_path: Path) -> Any:
    """``try_out(fp32=(logits, seconds a run), …)`` chooses among them."""
    given = vars(workbench(tiny_network("llama"), tmp_path))

    def try_out(**answers: tuple[Logits, float | None]) -> Choice:
        made: dict[Any, Candidate] = {}
        for name, (answer, takes_s) in answers.items():
            graph = tmp_path / f"{name}.onnx"
            graph.write_bytes(b"graph")
            graph.with_name(f"{name}.onnx.data").write_bytes(b"weights")
            made[name] = Candidate(
                graph,
                engine(answer, takes_s=takes_s or 0),
                f"stand-in {name}",
                timed=takes_s is not None,
            )
        changes = {
            "reference": Outputs(CERTAIN),
            "budgets": Budgets(flips=0.05, score=0.01),
            "made": made,
        }
        bench = Bench(**(given | changes))
        return choose(bench, list(made), ask=ROWS[:5], progress=lambda stage: None)

    return try_out


@dataclass(frozen=True)
class GraphBench(Bench):
    """Gives graphs that the test made, and leaves engines to ``compiled``."""

    def candidate(self, precision: Precision) -> Candidate:
        return Workbench.candidate(self, precision)

    def _graph(self, precision: Precision) -> Candidate:
        return self.made[precision]


def flipped(count: int) -> Logits:
    """The reference, with the label of some rows another."""
    answer = CERTAIN.copy()
    answer[:count] = (4, 0, 0)
    return answer


def blurred() -> Logits:
    """No label flips, and every score falls by some 0.03."""
    return CERTAIN * np.float32(0.9)


def test_the_fastest_within_the_budgets_is_taken(try_out: Any) -> None:
    choice = try_out(
        fp32=(CERTAIN, 0.05),
        fp16=(CERTAIN + 0.01, 0.01),
        int8=(flipped(8), 0.0),
        fp8=(blurred(), 0.0),
        bf16=(CERTAIN, None),
    )

    assert choice.precision == "fp16"
    assert choice.graph.name == "fp16.onnx"
    np.testing.assert_array_equal(choice.answers.logits, CERTAIN[:5] + 0.01)
    trials = {trial.precision: trial for trial in choice.trials}
    assert list(trials) == ["fp32", "fp16", "int8", "fp8", "bf16"]
    assert [trial.chosen for trial in choice.trials] == [False, True, False, False, False]
    # 8 of 64 labels; e^3.6 / (2 + e^3.6) - e^4 / (2 + e^4), and the same over e^3.6, e^4.
    assert trials["int8"].rejected == ("8 of 64 labels flip (12.50%), the budget is 5.00%")
    assert trials["fp8"].rejected is not None
    assert "the score moves by 0.02" in trials["fp8"].rejected
    assert trials["fp32"].rejected is trials["fp16"].rejected is None
    assert trials["bf16"].texts_per_s is None, "it was not run as it will be"
    assert (trials["fp16"].texts_per_s or 0) > 2 * (trials["fp32"].texts_per_s or 0)
    assert trials["fp32"].graph_bytes == len(b"graph") + len(b"weights")


def test_the_speed_is_that_of_texts_of_the_mean_length(tmp_path: Path) -> None:
    """The engine takes a millisecond a token; the shortest texts alone would be faster."""

    def run(rows: Rows) -> Outputs:
        time.sleep(sum(map(len, rows)) / 1e3)
        return Outputs(CERTAIN[: len(rows)])

    graph = tmp_path / "graph.onnx"
    graph.write_bytes(b"graph")
    changes = {
        "reference": Outputs(CERTAIN),
        "max_batch_tokens": 128,
        "made": {"fp32": Candidate(graph, run, "stand-in", timed=True)},
    }
    bench = Bench(**(vars(workbench(tiny_network("llama"), tmp_path)) | changes))

    (trial,) = choose(bench, ["fp32"], ask=ROWS[:5], progress=lambda stage: None).trials

    at_most = 1000 / np.mean([len(row) for row in ROWS])
    assert 0 < (trial.texts_per_s or 0) <= at_most


def test_on_a_gpu_the_plans_are_measured_and_timed(tmp_path: Path) -> None:
    plans = {
        "fp32": engine(CERTAIN, takes_s=0.05),
        "fp16": engine(CERTAIN + 0.01, takes_s=0.01),
        "bf16": engine(flipped(8)),
    }

    def compiled(graph: Path) -> tuple[str, Engine]:
        if graph.stem not in plans:
            raise EngineError(f"{graph.name}: tensorrt 10.9 cannot compile it: no FP8")
        return "tensorrt 10.9", plans[graph.stem]

    made: dict[Precision, Candidate] = {}
    names: tuple[Precision, ...] = ("fp32", "fp16", "bf16", "fp8")
    for name in names:
        graph = tmp_path / f"{name}.onnx"
        graph.write_bytes(b"graph")
        on_cpu = engine(CERTAIN, takes_s=0.02)  # within budget, and not what is served
        made[name] = Candidate(graph, on_cpu, f"onnxruntime {name}", timed=False)
    given = vars(workbench(tiny_network("llama"), tmp_path))
    changes = {"reference": Outputs(CERTAIN), "made": made, "compiled": compiled}
    bench = GraphBench(**(given | changes))

    choice = choose(bench, names, ask=ROWS[:5], progress=lambda stage: None)

    assert choice.precision == "fp16"
    np.testing.assert_array_equal(choice.answers.logits, CERTAIN[:5] + 0.01)
    trials = {trial.precision: trial for trial in choice.trials}
    assert trials["fp16"].engine == "tensorrt 10.9 fp16"
    assert (trials["fp16"].texts_per_s or 0) > 2 * (trials["fp32"].texts_per_s or 0)
    assert trials["bf16"].rejected is not None
    assert trials["bf16"].rejected.startswith("8 of 64 labels flip")
    assert trials["fp8"].rejected == "fp8.onnx: tensorrt 10.9 cannot compile it: no FP8"
    assert trials["fp8"].texts_per_s is None


def test_few_labels_may_move_the_score_too_far(try_out: Any) -> None:
    # 3 of 64 are 4.7 % of 5 % labels, but the score moves by 3 / 64 * 2 * 0.947,
    # where 0.947 is (e^4 - 1) / (e^4 + 2).
    with pytest.raises(BudgetError, match=r"score moves by 0\.0888") as refused:
        try_out(int8=(flipped(3), 0.0))

    assert "random tokens" in str(refused.value)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            flipped(4), "int8: 4 of 64 labels flip (6.25%), the budget is 5", id="labels"
        ),
        pytest.param(blurred(), "int8: the score moves by 0.02", id="score"),
        pytest.param(
            CERTAIN + np.float32("nan"), "int8: its logits are not finite", id="nan"
        ),
        pytest.param(
            CERTAIN + np.float32("inf"), "int8: its logits are not finite", id="infinite"
        ),
    ],
)
def test_a_precision_over_its_budget_is_refused_with_the_figures(
    try_out: Any, answer: Logits, reason: str
) -> None:
    with pytest.raises(BudgetError) as refused:
        try_out(int8=(answer, 0.0))

    assert reason in str(refused.value)


def test_where_nothing_is_within_them_every_reason_is_told(try_out: Any) -> None:
    with pytest.raises(BudgetError, match=r"fp16: 9 of 64 .*; fp8: 8 of 64"):
        try_out(fp16=(flipped(9), 0.0), fp8=(flipped(8), 0.0))


def test_a_precision_asked_for_alone_needs_no_speed(try_out: Any) -> None:
    assert try_out(fp8=(CERTAIN, None)).precision == "fp8"


def test_what_a_precision_does_to_the_embedding_is_told(tmp_path: Path) -> None:
    network = tiny_network("llama")
    classifier = PackedClassifier(network, embedding=True)
    write_onnx(classifier, tmp_path / "fp32.onnx")
    reference = torch_engine(classifier)(ROWS)
    open_budgets = Budgets(flips=1, score=2)
    bench = workbench(
        network, tmp_path, embedding=True, reference=reference, budgets=open_budgets
    )

    choice = choose(bench, ["fp32", "fp16", "int8"], ask=ROWS, progress=lambda stage: None)

    assert reference.embeddings is not None
    diffs = []
    for trial in choice.trials:
        session = onnxruntime_session(tmp_path / f"{trial.precision}.onnx")
        rows = [session.run(["embedding"], packed_feed([row]))[0][0] for row in ROWS]
        found = np.stack(rows).astype(np.float64)
        cosines = [
            np.dot(a, b) / np.sqrt(np.dot(a, a) * np.dot(b, b))
            for a, b in zip(found, reference.embeddings.astype(np.float64), strict=True)
        ]
        told = trial.embedding
        assert told is not None
        # Another batch rounds otherwise, in 16 bits by a thousandth of the numbers.
        assert told.min_cosine == pytest.approx(min(cosines), abs=2e-4)
        assert told.mean_cosine == pytest.approx(np.mean(cosines), abs=2e-4)
        apart = np.abs(found - reference.embeddings).max()
        assert told.max_abs_diff == pytest.approx(apart, abs=5e-3)
        assert told.max_abs == np.abs(reference.embeddings).max()
        diffs.append(told.max_abs_diff)
    assert diffs[0] < 1e-4 < diffs[1] < diffs[2], "the rounding must show"


def test_a_graph_without_an_embedding_has_no_figures_of_one(try_out: Any) -> None:
    (trial,) = try_out(fp32=(CERTAIN, None)).trials

    assert trial.embedding is None
