"""The folder that every peer loads, and the labels that every contender should give."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from peers.classifier import PaddedClassifier
from peers.padding import MOST_TEXTS, Padder
from peers.to_hugging_face import padded_classifier

from megatick_export import read_checkpoint, reference_network
from megatick_server.cpus import usable_cpus

Float32Array = npt.NDArray[np.float32]

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
    torch.set_num_threads(usable_cpus())
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(tokenizer, folder / "tokenizer.json")
    (folder / "window.json").write_text(json.dumps({"max_tokens": max_tokens}))
    read = read_checkpoint(checkpoint)
    model = padded_classifier(read)
    model.save(folder)
    write_onnx(model, folder / "model.onnx")
    padder = Padder(folder)
    network = reference_network(read)
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    reference: list[Float32Array] = []
    found: dict[str, list[Float32Array]] = {"Hugging Face": [], "ONNX": []}
    with torch.inference_mode():
        for text in texts:
            (row,), _ = padder([text])
            reference.append(network(torch.tensor(row)[None]).numpy())
        for first in range(0, len(texts), MOST_TEXTS):
            ids, mask = padder(texts[first : first + MOST_TEXTS])
            found["Hugging Face"].append(model(torch.tensor(ids), torch.tensor(mask)).numpy())
            feed = {"input_ids": ids, "attention_mask": mask}
            found["ONNX"].append(session.run(["logits"], feed)[0])
    expected = np.concatenate(reference)
    labels = expected.argmax(-1)
    errors = {}
    for name, parts in found.items():
        logits = np.concatenate(parts)
        if other := int((logits.argmax(-1) != labels).sum()):
            raise ValueError(
                f"the peers' {name} model labels {other} of {len(texts)} texts otherwise "
                "than Megatick's float32 network: what was measured would not be compared"
            )
        errors[name] = float(np.abs(logits - expected).max())
    return Proof(tuple(labels.tolist()), errors["Hugging Face"], errors["ONNX"])


def write_onnx(model: PaddedClassifier, path: Path) -> None:
    """Export the padded graph, any number of rows and tokens, in float32."""
    ids = torch.ones((2, 3), dtype=torch.long)
    free = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        model,
        (ids, torch.ones_like(ids)),
        path,
        input_names=["input_ids", "attention_mask"],
        output_names=["logits"],
        dynamic_shapes=(free, free),
        opset_version=_OPSET,
        dynamo=True,
        verbose=False,
    )
