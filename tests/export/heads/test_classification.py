"""A checkpoint's own class rows end in the order that is served."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny import LLAMA, write_tiny

from megatick_contract import LABELS
from megatick_export import (
    ExportOptions,
    export_repository,
    read_checkpoint,
    reference_network,
)
from megatick_export.checkpoint import Checkpoint
from megatick_export.errors import HeadError
from megatick_export.heads import classification
from megatick_export.parity import onnxruntime_session


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return read_checkpoint(write_tiny(tmp_path_factory.mktemp("head") / "checkpoint"))


@pytest.mark.parametrize("labels", list(itertools.permutations(LABELS)), ids="-".join)
def test_the_contracts_classes_end_in_its_order(
    checkpoint: Checkpoint, labels: Sequence[str]
) -> None:
    tokens = torch.arange(9)[None]
    own = dict(zip(labels, reference_network(checkpoint)(tokens)[0].tolist(), strict=True))

    classifier = classification(checkpoint, labels)

    assert classifier.labels == LABELS
    served = classifier.network(tokens)[0].numpy()
    np.testing.assert_allclose(served, [own[label] for label in LABELS], atol=1e-6)


def test_the_checkpoint_is_left_as_it_is(checkpoint: Checkpoint) -> None:
    before = checkpoint.weights["classification_head.weight"].clone()

    classification(checkpoint, LABELS[::-1])

    assert torch.equal(checkpoint.weights["classification_head.weight"], before)


def test_other_classes_stay_as_they_stand(checkpoint: Checkpoint) -> None:
    classifier = classification(checkpoint, ("up", "flat", "down"))

    assert classifier.labels == ("up", "flat", "down")
    head = classifier.network.classification_head.weight
    assert torch.equal(head, checkpoint.weights["classification_head.weight"])


def test_each_row_needs_a_name(checkpoint: Checkpoint) -> None:
    with pytest.raises(HeadError, match="head of 3 rows, expected 2 rows: up, down"):
        classification(checkpoint, ("up", "down"))


def test_a_bare_graph_tells_its_classes_and_its_longest_row(tmp_path: Path) -> None:
    checkpoint = write_tiny(tmp_path / "checkpoint", LLAMA)
    (tmp_path / "texts.txt").write_text("profit up\nprofit down\n")
    labels = ("hawkish", "dovish", "neutral")

    export_repository(
        checkpoint,
        tmp_path / "out",
        options=ExportOptions(
            target="onnx",
            precision="fp32",
            labels=labels,
            max_tokens=50,
            embedding=True,
            calibration=tmp_path / "texts.txt",
        ),
    )

    session = onnxruntime_session(tmp_path / "out/model.onnx")
    metadata = session.get_modelmeta().custom_metadata_map
    assert json.loads(metadata["labels"]) == list(labels)
    assert metadata["max_tokens"] == "50"
    assert [each.name for each in session.get_outputs()] == ["logits", "embedding"]
