"""Each precision's graph, made; and what runs it here."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Final

import torch

from megatick_contract.packing import plan_batches
from megatick_export.errors import EngineError
from megatick_export.evaluation import EvaluationTexts
from megatick_export.heads import Classifier
from megatick_export.network import Network
from megatick_export.options import Precision, Target
from megatick_export.packed import PackedClassifier
from megatick_export.parity import (
    Engine,
    Outputs,
    Rows,
    onnxruntime_engine,
    openvino_engine,
)
from megatick_export.precision.budgets import Budgets
from megatick_export.precision.calibration import largest_inputs
from megatick_export.precision.fallback import (
    Screen,
    emulated_engine,
    layers_that_bear,
    parts_to_keep,
)
from megatick_export.precision.fp8 import quantize
from megatick_export.precision.int8 import quantize_int8
from megatick_export.precision.lowering import Part, lowered
from megatick_export.precision.smoothing import smoothing
from megatick_export.to_onnx import write_onnx

_DTYPES: Final[dict[str, torch.dtype]] = {
    "fp16": torch.float16,
    "fp8": torch.float16,
    "bf16": torch.bfloat16,
}
CALIBRATED_TEXTS: Final = 128
"""Texts whose activations set the FP8 scales, and INT8's smoothing."""

_HEAD: Final = ("network.classification_head.weight",)
"""Stays in float32 in every precision: its sums decide the label."""


@dataclass(frozen=True)
class Candidate:
    """A graph in one precision.

    Attributes:
        graph: its ONNX file.
        engine: what runs it here.
        engine_name: its name, for the receipt.
        timed: its speed here tells the speed of what is served.
        float32: parts of the network that were kept in float32.
        layers_16_bit: layers that were left in a higher precision.
        refused: why it is none, whatever is measured; None if it is one.
        outputs: its answers to the evaluation texts, where they are known already.
    """

    graph: Path
    engine: Engine
    engine_name: str
    timed: bool
    float32: tuple[str, ...] = ()
    layers_16_bit: tuple[int, ...] = ()
    refused: str | None = None
    outputs: Outputs | None = None


@dataclass(frozen=True)
class Workbench:
    """What is exported, and what each precision of it is measured with.

    Attributes:
        classifier: the float32 reference.
        target: what will run the graph.
        texts: to measure on.
        rows: their tokens.
        reference: what the float32 graph answers to them.
        graph_fp32: the float32 graph, proven to be the reference network.
        folder: where graphs are written.
        embedding: the graphs answer with the pooled hidden state as well.
        metadata: for the graphs.
        fp8_attention: FP8 takes in attention's own products.
        trained_inputs: largest inputs of linear layers that the checkpoint's own FP8
            training recorded, by name; they win over calibration.
        max_batch_tokens: of one run.
        compiled: makes the name and the engine of a graph on this machine's GPU, where
            precisions are compared there; None leaves them to what runs them on a CPU.
        budgets: what a precision may change.
    """

    classifier: Classifier
    target: Target
    texts: EvaluationTexts
    rows: Rows
    reference: Outputs
    graph_fp32: Path
    folder: Path
    embedding: bool
    metadata: dict[str, str]
    fp8_attention: bool
    trained_inputs: dict[str, float]
    max_batch_tokens: int
    budgets: Budgets
    compiled: Callable[[Path], tuple[str, Engine]] | None = None
    _kept: dict[torch.dtype, tuple[Part, ...]] = field(default_factory=dict, repr=False)

    def candidate(self, precision: Precision) -> Candidate:
        """Make the graph of one precision.

        Raises:
            QuantizationError: its weights cannot be INT8.
        """
        candidate = self._graph(precision)
        if self.compiled is None:
            return candidate
        try:
            name, engine = self.compiled(candidate.graph)
        except EngineError as error:  # a GPU without FP8, say
            return replace(candidate, refused=candidate.refused or str(error))
        return replace(
            candidate, engine=engine, engine_name=f"{name} {precision}", timed=True
        )

    def _graph(self, precision: Precision) -> Candidate:
        match precision:
            case "fp32":
                return self._fp32()
            case "bf16" if self.target == "cpu":
                engine = openvino_engine(self.graph_fp32, precision="bf16")
                return Candidate(self.graph_fp32, engine, "openvino bf16", timed=True)
            case "fp16" | "bf16":
                return self._half(precision)
            case "fp8":
                return self._fp8()
            case "int8":
                return self._int8()

    def _fp32(self) -> Candidate:
        if self.target == "cpu":
            engine = openvino_engine(self.graph_fp32)  # which gave the reference
            return Candidate(
                self.graph_fp32, engine, "openvino fp32", timed=True, outputs=self.reference
            )
        engine = onnxruntime_engine(self.graph_fp32)
        timed = self.target != "tensorrt"
        return Candidate(self.graph_fp32, engine, "onnxruntime fp32", timed)

    def _half(self, precision: Precision) -> Candidate:
        dtype = _DTYPES[precision]
        kept = self._kept_parts(dtype)
        classifier = self._packed(lowered(self.classifier.network, dtype, float32=kept))
        graph = self._write(classifier, precision)
        if precision == "bf16":  # no CPU runtime here has kernels for a BF16 graph
            return Candidate(graph, emulated_engine(classifier), "torch bf16", False, kept)
        timed = self.target == "onnx"
        engine = onnxruntime_engine(graph)
        return Candidate(graph, engine, "onnxruntime fp16", timed, kept)

    def _fp8(self) -> Candidate:
        kept = self._kept_parts(_DTYPES["fp8"])
        count = self.classifier.network.architecture.num_layers
        layers = layers_that_bear(
            lambda layers: self._quantized(kept, layers), count, self._screen
        )
        graph = self._write(self._quantized(kept, layers), "fp8")
        skipped = sorted(set(range(count)) - set(layers))
        return Candidate(
            graph,
            onnxruntime_engine(graph),
            "onnxruntime fp8",
            timed=False,
            float32=kept,
            layers_16_bit=tuple(skipped),
            refused=None if layers else "one layer in FP8 alone exceeds the budget",
        )

    def _int8(self) -> Candidate:
        graph = self.folder / "int8.onnx"
        smooth = smoothing(self.graph_fp32, self._calibration_batches, keep=_HEAD)
        quantize_int8(self.graph_fp32, graph, keep=_HEAD, smooth=smooth)
        if self.target == "cpu":
            engine, name = openvino_engine(graph, precision="int8"), "openvino int8"
        else:
            engine, name = onnxruntime_engine(graph), "onnxruntime int8"
        return Candidate(graph, engine, name, timed=True, float32=("class rows",))

    def _packed(self, network: Network) -> PackedClassifier:
        return self.classifier.packed(network, embedding=self.embedding)

    def _write(self, classifier: PackedClassifier, name: str) -> Path:
        graph = self.folder / f"{name}.onnx"
        write_onnx(classifier, graph, metadata=self.metadata, one_file=False)
        return graph

    def _kept_parts(self, dtype: torch.dtype) -> tuple[Part, ...]:
        """Find the fewest parts to keep in float32, once for each dtype."""

        def make(kept: tuple[Part, ...]) -> PackedClassifier:
            return self._packed(lowered(self.classifier.network, dtype, float32=kept))

        if dtype not in self._kept:
            # torch sums a LayerNorm in float32 whatever it is given, so an overflow that a
            # GPU would have cannot be seen here; an RMSNorm's can.
            layer_norm = self.classifier.network.architecture.normalization == "LayerNorm"
            blind = int(layer_norm and dtype == torch.float16)
            self._kept[dtype] = parts_to_keep(make, self._screen, at_least=blind)
        return self._kept[dtype]

    def _quantized(self, kept: Sequence[Part], layers: Sequence[int]) -> PackedClassifier:
        network = lowered(self.classifier.network, _DTYPES["fp8"], float32=kept)
        quantize(
            network, self._largest_inputs, layers=layers, in_attention=self.fp8_attention
        )
        return self._packed(network)

    @cached_property
    def _screen(self) -> Screen:
        return Screen(self.rows, self.reference.logits, self.budgets, self.max_batch_tokens)

    @cached_property
    def _largest_inputs(self) -> dict[str, float]:
        """Largest activations, by text and, where it was recorded, by training."""
        found = largest_inputs(self.classifier.packed(), self._calibration_batches)
        return found | self.trained_inputs

    @property
    def _calibration_batches(self) -> list[Rows]:
        rows = self.rows[:CALIBRATED_TEXTS]
        plan = plan_batches(
            [len(row) for row in rows], max_batch_tokens=self.max_batch_tokens
        )
        return [[rows[row] for row in batch] for batch in plan]
