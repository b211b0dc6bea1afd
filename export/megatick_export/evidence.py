"""The evidence: the float32 graph is the model, and the precision keeps its answers."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final, cast

import numpy as np

from megatick_contract.cpu_engine import CpuPrecision
from megatick_export.engine import BatchLimits, gpu_compiler
from megatick_export.evaluation import (
    EvaluationTexts,
    probabilities,
)
from megatick_export.headlines import headlines
from megatick_export.options import ExportOptions
from megatick_export.parity import (
    Comparison,
    Engine,
    Outputs,
    Rows,
    openvino_engine,
    prove,
    run_in_batches,
)
from megatick_export.precision.budgets import Budgets
from megatick_export.precision.candidates import Workbench
from megatick_export.precision.layers import (
    layer_errors,
    onnxruntime_streams,
    openvino_streams,
    reference_streams,
)
from megatick_export.precision.trials import Choice, choose
from megatick_export.subject import Subject
from megatick_export.to_onnx import write_onnx

PROBED_TEXTS: Final = 64
EMBEDDED_TEXTS: Final = 16
"""Of the probed, those whose embeddings are kept: thousands of numbers each."""

_WATCHED_TEXTS: Final = 32
_LEAST_TOLERANCE: Final = 1e-4
"""What float32 may differ by on another machine, relative to the largest value."""


@dataclass(frozen=True)
class EmbeddingProbe:
    """The embeddings that a server of this repository must give, within its precision.

    Attributes:
        values: the float32 reference's, a row a text, of the first ``EMBEDDED_TEXTS``.
        tolerance: largest absolute difference of a number that the chosen precision was
            measured to cause on the probe's texts, doubled as for probabilities.
    """

    values: tuple[tuple[float, ...], ...]
    tolerance: float


@dataclass(frozen=True)
class Probe:
    """What a server of this repository must answer, within its precision.

    Attributes:
        texts: what to ask; invented.
        probabilities: the float32 reference's answers, a row of classes a text.
        tolerance: largest absolute difference of a probability that the chosen precision
            was measured to cause on these texts, doubled, for other batches and machines.
        embedding: the same of embeddings; None where the graph gives none.
    """

    texts: tuple[str, ...]
    probabilities: tuple[tuple[float, ...], ...]
    tolerance: float
    embedding: EmbeddingProbe | None = None

    @property
    def score_tolerance(self) -> float:
        """How far a score may move with its batch: twice what a probability may.

        A score is the difference of two probabilities, each of which the precision moved
        by half the tolerance at most; and so it did in either of two answers.
        """
        return 2 * self.tolerance

    def to_json(self) -> str:
        """Write it as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    def tolerances(self) -> dict[str, float]:
        """What the receipt says of them, by what they are for."""
        allowed = {"probability": self.tolerance}
        if self.embedding is not None:
            allowed["embedding"] = self.embedding.tolerance
        return allowed


@dataclass(frozen=True)
class Evidence:
    """What was found on the way to a graph.

    Attributes:
        parity: each runtime's float32 graph against the reference network.
        texts: what the precisions were measured on.
        choice: the precision that was chosen, and all that were tried.
        layer_errors: of the chosen precision, after each layer; None if not measured.
        probe: what a server must answer.
    """

    parity: tuple[Comparison, ...]
    texts: EvaluationTexts
    choice: Choice
    layer_errors: tuple[float, ...] | None
    probe: Probe

    def about_texts(self) -> dict[str, Any]:
        """What the receipt says of the texts."""
        return {
            "source": self.texts.source,
            "sha256": self.texts.sha256,
            "texts": len(self.texts.texts),
            "labelled": self.texts.classes is not None,
        }


def prove_and_choose(
    subject: Subject,
    options: ExportOptions,
    scratch: Path,
    *,
    progress: Callable[[str], None],
) -> Evidence:
    """Write the float32 graph, prove it, and choose a precision by measurement.

    Args:
        subject: what is exported.
        options: target, precision and budgets.
        scratch: folder for graphs, the chosen one among them.
        progress: called with a few words as each stage begins.

    Raises:
        ParityError: the graph is not the reference network.
        BudgetError: no precision keeps the answers.
    """
    classifier = subject.classifier
    metadata = {
        "labels": json.dumps(classifier.labels),
        "max_tokens": str(subject.max_tokens),
    }
    progress("writing the packed ONNX graph")
    graph = scratch / "fp32.onnx"
    packed = classifier.packed(embedding=options.embedding)
    write_onnx(packed, graph, metadata=metadata, one_file=False)
    progress("proving that it is the same model")
    parity = prove(
        classifier.network,
        graph,
        max_tokens=subject.max_tokens,
        prefix_ids=classifier.prefix_ids,
    )
    progress("running the float32 graph on the evaluation texts")
    rows = subject.rows(subject.texts.texts)
    probed = headlines(PROBED_TEXTS)
    probe_rows = subject.rows(probed)
    float32 = openvino_engine(graph)
    reference, expected = (
        run_in_batches(float32, each, max_batch_tokens=options.tokens_per_run)
        for each in (rows, probe_rows)
    )
    del float32  # a copy of the weights, which the trials have no use for
    fp8 = "fp8" in options.candidates()
    bench = Workbench(
        classifier=classifier,
        target=options.target,
        texts=subject.texts,
        rows=rows,
        reference=reference,
        graph_fp32=graph,
        folder=scratch,
        embedding=options.embedding,
        metadata=metadata,
        fp8_attention=options.fp8_attention,
        trained_inputs=subject.checkpoint.trained_inputs() if fp8 else {},
        max_batch_tokens=options.tokens_per_run,
        budgets=Budgets(options.flip_budget, options.score_budget),
        compiled=_gpu_compiler(subject, options, rows),
    )
    choice = choose(bench, options.candidates(), ask=probe_rows, progress=progress)
    progress("comparing layer by layer")
    return Evidence(
        parity=parity,
        texts=subject.texts,
        choice=choice,
        layer_errors=_layer_errors(bench, choice),
        probe=_probe(probed, expected, choice.answers),
    )


def _gpu_compiler(
    subject: Subject, options: ExportOptions, rows: Rows
) -> Callable[[Path], tuple[str, Engine]] | None:
    """What makes plans of the precisions that are compared by their speed on a GPU."""
    if options.target != "tensorrt" or options.precision != "auto":
        return None
    return gpu_compiler(BatchLimits(subject.max_tokens), [len(row) for row in rows])


def _probe(texts: Sequence[str], reference: Outputs, answers: Outputs) -> Probe:
    """Record answers to invented headlines; a user's own texts stay where they are."""
    expected, found = probabilities(reference.logits), probabilities(answers.logits)
    moved = float(np.abs(found - expected).max())
    return Probe(
        texts=tuple(texts),
        probabilities=tuple(map(tuple, expected.tolist())),
        tolerance=max(2 * moved, _LEAST_TOLERANCE),
        embedding=_embedding_probe(reference, answers),
    )


def _embedding_probe(reference: Outputs, answers: Outputs) -> EmbeddingProbe | None:
    errors = answers.embedding_errors(reference)
    if reference.embeddings is None or errors is None:
        return None
    kept = reference.embeddings[:EMBEDDED_TEXTS]
    return EmbeddingProbe(
        # As text, a float32 has fewer digits than as the float64 that equals it.
        values=tuple(tuple(float(str(each)) for each in row) for row in kept),
        tolerance=max(2 * errors.max_abs_diff, _LEAST_TOLERANCE * errors.max_abs),
    )


def _layer_errors(bench: Workbench, choice: Choice) -> tuple[float, ...] | None:
    """Compare the chosen graph with the reference, layer by layer, where it runs here."""
    network = bench.classifier.network
    layers = network.architecture.num_layers
    rows = bench.rows[:_WATCHED_TEXTS]
    if bench.target == "cpu":
        precision = cast("CpuPrecision", choice.precision)  # PRECISIONS has no other
        found = openvino_streams(choice.graph, layers, rows, precision=precision)
    elif choice.precision == "bf16":  # no CPU runtime here has kernels for a BF16 graph
        return None
    else:
        found = onnxruntime_streams(choice.graph, layers, rows)
    prefix = bench.classifier.prefix_ids
    return layer_errors(found, reference_streams(network, rows, prefix_ids=prefix))
