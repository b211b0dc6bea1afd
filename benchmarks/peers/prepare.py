"""The folder that every peer loads, and the labels that every contender should give."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
import transformers
from peers.classifier import PaddedClassifier
from peers.padding import MOST_TEXTS, Padder
from peers.to_hugging_face import padded_classifier

from megatick_export import read_checkpoint, reference_network
from megatick_export.to_onnx import quiet

Float32Array = npt.NDArray[np.float32]
Int64Array = npt.NDArray[np.int64]

_OPSET: Final = 18


@dataclass(frozen=True)
class Proof:
    """That the peers' model is the checkpoint's.

    Attributes:
        labels: float32's, of each text.
        hugging_face_max_error: largest difference of a logit, in torch.
        onnx_max_error: the same of the ONNX graph in onnxruntime.
    """

    labels: tuple[int, ...]
    hugging_face_max_error: float
    onnx_max_error: float


def prepare(
    checkpoint: Path,
    tokenizer: Path,
    folder: Path,
    texts: Sequence[str],
    *,
    max_tokens: int,
) -> Proof:
    """Write a checkpoint as the peers read it, and prove that its labels are the same.

    Args:
        checkpoint: of Megatron.
        tokenizer: ``tokenizer.json`` that Megatick serves.
        folder: to write; replaced.
        texts: that will be asked.
        max_tokens: the window that Megatick serves.

    Raises:
        ValueError: the peers' model labels a text otherwise.
    """
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    (folder / "window.json").write_text(json.dumps({"max_tokens": max_tokens}))
    read = read_checkpoint(checkpoint)
    model = padded_classifier(read)
    model.save(folder)
    padder = Padder(folder)
    network = reference_network(read)

    def hugging_face(ids: Int64Array, mask: Int64Array) -> Float32Array:
        logits: Float32Array = model(torch.tensor(ids), torch.tensor(mask)).numpy()
        return logits

    with torch.inference_mode():
        rows = [padder([text])[0] for text in texts]
        expected = np.concatenate([network(torch.tensor(row)).numpy() for row in rows])
        found = _score(hugging_face, padder, texts)
    error = _largest_error(found, expected, "Hugging Face")

    write_onnx(model, folder / "model.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx")

    def graph(ids: Int64Array, mask: Int64Array) -> Float32Array:
        feed = {"input_ids": ids, "attention_mask": mask}
        logits: Float32Array = session.run(["logits"], feed)[0]
        return logits

    onnx_error = _largest_error(_score(graph, padder, texts), expected, "ONNX")
    return Proof(tuple(expected.argmax(-1).tolist()), error, onnx_error)


def write_onnx(model: PaddedClassifier, path: Path) -> None:
    """Export the padded graph, any number of rows and tokens, in float32."""
    ids = torch.ones((2, 3), dtype=torch.long)
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    with torch.no_grad(), quiet():
        torch.onnx.export(
            model,
            (ids, torch.ones_like(ids)),
            path,
            input_names=["input_ids", "attention_mask"],
            output_names=["logits"],
            dynamic_shapes=(free, free),
            opset_version=_OPSET,
            dynamo=True,
            # Its rewriting rules take minutes on 30 layers; runtimes fuse by themselves.
            optimize=False,
        )


def _score(
    run: Callable[[Int64Array, Int64Array], Float32Array],
    padder: Padder,
    texts: Sequence[str],
) -> Float32Array:
    """Run texts in padded batches."""
    firsts = range(0, len(texts), MOST_TEXTS)
    batches = [padder(texts[first : first + MOST_TEXTS]) for first in firsts]
    return np.concatenate([run(*batch) for batch in batches])


def _largest_error(found: Float32Array, expected: Float32Array, name: str) -> float:
    """Hold logits against float32's."""
    if other := int((found.argmax(-1) != expected.argmax(-1)).sum()):
        raise ValueError(
            f"the peers' {name} model labels {other} of {len(expected)} texts otherwise "
            "than Megatick's float32 network; expected none, since nothing else would be "
            "a comparison: mend benchmarks/peers/to_hugging_face.py first"
        )
    return float(np.abs(found - expected).max())
