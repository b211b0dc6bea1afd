"""Is the exported graph the same model?  The same ragged rows, run every way there is."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import torch

from megatick_contract.cpu_engine import (
    CpuPrecision,
    openvino_core,
    openvino_options,
    read_graph,
)
from megatick_contract.packing import packed_feed, plan_batches
from megatick_contract.steps import LOGITS, POOLED
from megatick_export.errors import ParityError
from megatick_export.evaluation import EmbeddingErrors, measure_embeddings
from megatick_export.network import Network
from megatick_export.packed import PackedClassifier

Rows = Sequence[npt.NDArray[np.int32]]
Logits = npt.NDArray[np.float32]
Embeddings = npt.NDArray[np.float32]


@dataclass(frozen=True)
class Outputs:
    """What an engine answers to some rows.

    Attributes:
        logits: float32, shape (rows, classes).
        embeddings: float32, shape (rows, hidden); None where the graph does not give them.
    """

    logits: Logits
    embeddings: Embeddings | None = None

    @classmethod
    def named(cls, found: Mapping[str, npt.ArrayLike]) -> Outputs:
        """Copy them from a graph's outputs, by their names there."""
        embeddings = found.get(POOLED.name)
        return cls(
            np.array(found[LOGITS.name], np.float32),
            None if embeddings is None else np.array(embeddings, np.float32),
        )

    @classmethod
    def joined(cls, parts: Sequence[Outputs]) -> Outputs:
        """Put the rows of several batches behind each other."""
        embeddings = [each.embeddings for each in parts if each.embeddings is not None]
        return cls(
            np.concatenate([each.logits for each in parts]),
            np.concatenate(embeddings) if embeddings else None,
        )

    def embedding_errors(self, reference: Outputs) -> EmbeddingErrors | None:
        """Compare the embeddings with another's of the same rows; None if one has none."""
        if self.embeddings is None or reference.embeddings is None:
            return None
        return measure_embeddings(self.embeddings, reference.embeddings)

    def take(self, rows: npt.NDArray[np.intp]) -> Outputs:
        """The rows with these numbers, in their order."""
        embeddings = None if self.embeddings is None else self.embeddings[rows]
        return Outputs(self.logits[rows], embeddings)


Engine = Callable[[Rows], Outputs]
"""Runs one packed batch of rows of tokens."""

SEED: Final = 0
ROWS: Final = 64
MEAN_TOKENS: Final = 25
"""Financial headlines are short: about 25 tokens, 5 to 120."""

FP32_TOLERANCE: Final = 1e-3
"""Largest absolute difference of a logit that float32 rounding may explain; of an
embedding's number, relative to the largest.  A wrong GELU is 3e-3 apart in the logits, a
wrong QKV order more than 1."""

FP32_RELATIVE: Final = 1e-4
"""The same of logits beyond 10, relative to the largest: an unscaled head's, or those that
a base model gives its words."""


@dataclass(frozen=True)
class Comparison:
    """How far one way of running the float32 graph is from the reference network.

    Attributes:
        engine: what ran the graph, and in which precision.
        max_abs_diff: largest absolute difference of a class's logit; NaN if one is NaN.
        label_flips: rows whose most probable class differs.
        rows: rows compared.
        embedding: of the embeddings; None where the graph gives none.
    """

    engine: str
    max_abs_diff: float
    label_flips: int
    rows: int
    embedding: EmbeddingErrors | None = None


def check(comparison: Comparison, *, largest: float) -> Comparison:
    """Refuse a float32 engine that is not the reference network.

    Args:
        comparison: of the engine.
        largest: absolute logit of the reference.

    Returns:
        The comparison.

    Raises:
        ParityError: rounding cannot explain the difference, or it is not finite.
    """
    allowed = max(FP32_TOLERANCE, FP32_RELATIVE * largest)
    if not comparison.max_abs_diff <= allowed < math.inf:
        raise ParityError(
            comparison.engine,
            expected=f"logits within {allowed:.0e}",
            found=f"a difference of {comparison.max_abs_diff:.2e}, and "
            f"{comparison.label_flips} of {comparison.rows} labels flipped",
        )
    embedding = comparison.embedding
    if embedding is not None:
        allowed = FP32_TOLERANCE * embedding.max_abs
        if not embedding.max_abs_diff <= allowed:
            raise ParityError(
                comparison.engine,
                expected=f"embeddings within {allowed:.1e}",
                found=f"a difference of {embedding.max_abs_diff:.2e}, and a cosine of "
                f"{embedding.min_cosine:.6f}",
            )
    return comparison


def ragged_rows(*, vocab_size: int, max_tokens: int) -> list[npt.NDArray[np.int32]]:
    """Draw rows of random tokens whose lengths are spread like headlines'.

    Returns:
        ``ROWS`` int32 arrays; the first three hold 1 token, 2, and the window's full
        length (at most 256), the others 5 to 120 around a mean of 25.
    """
    random = np.random.default_rng(SEED)
    lengths = np.clip(random.gamma(3, MEAN_TOKENS / 3, ROWS), 5, 120).astype(int)
    lengths[:3] = (1, 2, 256)
    lengths = np.minimum(lengths, max_tokens)
    return [random.integers(0, vocab_size, n).astype(np.int32) for n in lengths]


def reference_outputs(
    network: Network, rows: Rows, *, prefix_ids: Sequence[int] = ()
) -> Outputs:
    """Run the reference network row by row, without padding or packing.

    Args:
        network: with a classification head.
        rows: int32 tokens of each row.
        prefix_ids: tokens that stand before every row.
    """
    prefix = torch.tensor(prefix_ids, dtype=torch.int64)
    place = 0 if network.architecture.pooling == "first" else -1
    with torch.inference_mode():
        tokens = (torch.cat((prefix, torch.from_numpy(row).long())) for row in rows)
        pooled = [network.encode(each[None])[:, place] for each in tokens]
        logits = [network.classify(each) for each in pooled]
    return Outputs(torch.cat(logits).numpy(), torch.cat(pooled).numpy())


def reference_logits(
    network: Network, rows: Rows, *, prefix_ids: Sequence[int] = ()
) -> Logits:
    """The logits of ``reference_outputs``, shape (rows, classes)."""
    return reference_outputs(network, rows, prefix_ids=prefix_ids).logits


def torch_engine(classifier: PackedClassifier) -> Engine:
    """Run a packed classifier in torch, in whatever precision it is."""

    def run(rows: Rows) -> Outputs:
        feed = [torch.from_numpy(array) for array in packed_feed(rows).values()]
        with torch.inference_mode():
            answer = classifier(*feed)
        named = (LOGITS.name, POOLED.name) if classifier.embedding else (LOGITS.name,)
        outputs = answer if classifier.embedding else (answer,)
        return Outputs.named(dict(zip(named, outputs, strict=True)))

    return run


def onnxruntime_session(path: Path) -> Any:
    """Load a graph into onnxruntime, on the CPU.

    Since 1.29 its Linux builds report the models they load to their maker, unless this
    variable is set before they are imported.
    """
    os.environ["ORT_DISABLE_TELEMETRY"] = "1"
    import onnxruntime

    return onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])


def onnxruntime_engine(path: Path) -> Engine:
    """Run the packed graph in onnxruntime, on the CPU."""
    session = onnxruntime_session(path)

    names = [output.name for output in session.get_outputs()]

    def run(rows: Rows) -> Outputs:
        found = session.run(names, packed_feed(rows))
        return Outputs.named(dict(zip(names, found, strict=True)))

    return run


def openvino_engine(
    path: Path, *, precision: CpuPrecision = "fp32", threads: int | None = None
) -> Engine:
    """Run the packed graph in OpenVINO on the CPU, as the server does.

    With None it takes the threads that OpenVINO would: one a physical core.
    """
    model = read_graph(path, precision)
    options = openvino_options(precision, model)
    if threads is not None:
        options |= {"INFERENCE_NUM_THREADS": str(threads)}
    compiled = openvino_core().compile_model(model, "CPU", options)
    names = [output.any_name for output in compiled.outputs]

    def run(rows: Rows) -> Outputs:
        found = compiled(packed_feed(rows))
        return Outputs.named({name: found[name] for name in names})

    return run


def openvino_values(
    path: Path, names: Iterable[str], *, precision: CpuPrecision
) -> Callable[[Rows], Mapping[str, npt.NDArray[np.float32]]]:
    """Run the packed graph in OpenVINO on the CPU, and look at values inside of it.

    Args:
        path: an ONNX file.
        names: of the values, as the file has them.
        precision: of the run.

    Returns:
        Gives rows' values by name.
    """
    model = openvino_core().read_model(str(path))
    for name in names:
        model.add_outputs(name)
    compiled = openvino_core().compile_model(
        model, "CPU", openvino_options(precision, model)
    )
    return lambda rows: compiled(packed_feed(rows))


def run_in_batches(engine: Engine, rows: Rows, *, max_batch_tokens: int) -> Outputs:
    """Run any number of rows, in batches within the token budget."""
    plan = plan_batches([len(row) for row in rows], max_batch_tokens=max_batch_tokens)
    together = Outputs.joined([engine([rows[row] for row in batch]) for batch in plan])
    return together.take(np.argsort(np.concatenate(plan)))


def compare(engine: str, found: Logits, reference: Logits) -> Comparison:
    """Compare an engine's outputs with the reference's: logits or probabilities.

    Both have the shape (rows, classes).
    """
    return Comparison(
        engine=engine,
        max_abs_diff=float(np.abs(found - reference).max()),
        label_flips=int((found.argmax(-1) != reference.argmax(-1)).sum()),
        rows=len(reference),
    )


def prove(
    network: Network, graph: Path, *, max_tokens: int, prefix_ids: Sequence[int] = ()
) -> tuple[Comparison, ...]:
    """Run the same ragged rows through the float32 graph in every runtime.

    Args:
        network: the reference.
        graph: the packed ONNX file, in float32.
        max_tokens: longest row that is served.
        prefix_ids: tokens that the graph holds before every row.

    Raises:
        ParityError: a runtime's answer is not the reference network's.
    """
    rows = ragged_rows(vocab_size=network.architecture.vocab_size, max_tokens=max_tokens)
    reference = reference_outputs(network, rows, prefix_ids=prefix_ids)
    engines: dict[str, Callable[[Path], Engine]] = {
        "onnxruntime fp32": onnxruntime_engine,
        "openvino fp32": openvino_engine,
    }
    largest = float(np.abs(reference.logits).max())
    comparisons = []
    for name, load in engines.items():
        found = load(graph)(rows)
        comparison = compare(name, found.logits, reference.logits)
        embedding = found.embedding_errors(reference)
        comparison = replace(comparison, embedding=embedding)
        comparisons.append(check(comparison, largest=largest))
    return tuple(comparisons)
