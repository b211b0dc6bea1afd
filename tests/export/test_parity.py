"""The proof that a graph is the reference network, and what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench import ROWS, tiny_network
from exported import Exported
from tiny import WINDOW

from megatick_export import parity, read_checkpoint, reference_network
from megatick_export.errors import ParityError
from megatick_export.packed import PackedClassifier
from megatick_export.parity import (
    Engine,
    Outputs,
    Rows,
    onnxruntime_engine,
    openvino_engine,
    prove,
    run_in_batches,
    torch_engine,
)
from megatick_export.to_onnx import write_onnx


@pytest.mark.parametrize("runtime", ["onnxruntime_engine", "openvino_engine"])
@pytest.mark.parametrize("off_by", [0.01, np.nan], ids=["a-hundredth", "nan"])
def test_an_engine_that_is_not_the_model_is_refused(
    exported_graph: Exported,
    monkeypatch: pytest.MonkeyPatch,
    runtime: str,
    off_by: float,
) -> None:
    network = reference_network(read_checkpoint(exported_graph.checkpoint))
    graph = exported_graph.out / "model.onnx"
    real = getattr(parity, runtime)

    def broken(path: Path, **options: Any) -> Engine:
        engine = real(path, **options)
        return lambda rows: Outputs(engine(rows).logits + np.float32(off_by))

    prove(network, graph, max_tokens=WINDOW)
    monkeypatch.setattr(parity, runtime, broken)

    name = runtime.removesuffix("_engine")
    with pytest.raises(ParityError, match=f"{name} fp32: expected logits within 1e-03"):
        prove(network, graph, max_tokens=WINDOW)


def test_large_logits_are_held_by_their_size(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rounding alone moves them by more than the thousandth that others may be off."""
    network = tiny_network("llama")
    network.classification_head.weight.data *= 1e4
    graph = tmp_path / "model.onnx"
    write_onnx(PackedClassifier(network), graph)
    real = parity.openvino_engine

    def broken(path: Path, **options: Any) -> Engine:
        return lambda rows: Outputs(real(path, **options)(rows).logits * np.float32(1.001))

    assert (
        max(each.max_abs_diff for each in prove(network, graph, max_tokens=WINDOW)) > 1e-3
    )
    monkeypatch.setattr(parity, "openvino_engine", broken)

    with pytest.raises(ParityError, match="openvino fp32: expected logits within"):
        prove(network, graph, max_tokens=WINDOW)


def test_an_embedding_that_is_not_the_models_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = tiny_network("llama")
    graph = tmp_path / "embedding.onnx"
    write_onnx(PackedClassifier(network, embedding=True), graph)
    real = parity.openvino_engine

    def broken(path: Path, **options: Any) -> Engine:
        def engine(rows: Rows) -> Outputs:
            found = real(path, **options)(rows)
            assert found.embeddings is not None
            return replace(found, embeddings=found.embeddings[::-1])

        return engine

    for comparison in prove(network, graph, max_tokens=WINDOW):
        assert comparison.embedding is not None
        assert comparison.embedding.max_abs_diff < 1e-4
        assert comparison.embedding.min_cosine > 1 - 1e-6
    monkeypatch.setattr(parity, "openvino_engine", broken)

    with pytest.raises(ParityError, match="openvino fp32: expected embeddings within"):
        prove(network, graph, max_tokens=WINDOW)


@pytest.mark.parametrize("name", ["llama", "bert"])
def test_every_engine_gives_the_reference_networks_embeddings(
    name: str, tmp_path: Path
) -> None:
    """Of the last token of a GPT's row, of the first of a BERT's; whatever the batches."""
    network = tiny_network(name)
    classifier = PackedClassifier(network, embedding=True)
    write_onnx(classifier, tmp_path / "model.onnx")
    place = 0 if name == "bert" else -1
    expected = np.stack(
        [network.encode(torch.tensor(row[None].astype(int)))[0, place] for row in ROWS]
    )

    for engine in (
        torch_engine(classifier),
        onnxruntime_engine(tmp_path / "model.onnx"),
        openvino_engine(tmp_path / "model.onnx"),
    ):
        whole = engine(ROWS)
        batches = run_in_batches(engine, ROWS, max_batch_tokens=100)
        assert whole.embeddings is not None
        assert batches.embeddings is not None
        np.testing.assert_allclose(whole.embeddings, expected, atol=1e-4)
        np.testing.assert_allclose(batches.embeddings, expected, atol=1e-4)
        np.testing.assert_allclose(batches.logits, whole.logits, atol=1e-4)
    assert torch_engine(PackedClassifier(network))(ROWS).embeddings is None
