"""The model that the peers serve is the checkpoint's."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from peers import prepare as preparing
from peers.classifier import PaddedClassifier
from peers.to_hugging_face import padded_classifier
from tiny import BERT, GPT2, LLAMA, WINDOW, write_tiny

from megatick_export import Architecture, read_checkpoint, reference_network
from megatick_export.headlines import headlines


@pytest.mark.parametrize("architecture", [LLAMA, GPT2], ids=["llama", "gpt2"])
def test_padded_rows_score_as_they_do_alone(
    architecture: Architecture, tmp_path: Path
) -> None:
    checkpoint = read_checkpoint(write_tiny(tmp_path / "checkpoint", architecture))
    network = reference_network(checkpoint)
    model = padded_classifier(checkpoint)
    model.save(tmp_path / "model")
    loaded = PaddedClassifier.load(tmp_path / "model")
    rows = [
        torch.randint(0, 256, (length,), generator=torch.Generator().manual_seed(length))
        for length in (40, 7, 1)
    ]
    ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    mask = torch.tensor([[1] * len(row) + [0] * (40 - len(row)) for row in rows])

    with torch.inference_mode():
        alone = torch.cat([network(row[None]) for row in rows])
        for each in (model, loaded):
            torch.testing.assert_close(each(ids, mask), alone, atol=2e-5, rtol=0)


def test_a_bert_is_refused(tmp_path: Path) -> None:
    checkpoint = read_checkpoint(write_tiny(tmp_path, BERT))

    with pytest.raises(ValueError, match="expected Llama's architecture or GPT-2's"):
        padded_classifier(checkpoint)


def test_the_folder_is_proven_text_by_text(tmp_path: Path) -> None:
    checkpoint = write_tiny(tmp_path / "checkpoint")
    texts = headlines(40)  # a whole batch, and one of another shape

    proof = preparing.prepare(
        checkpoint,
        checkpoint / "tokenizer.json",
        tmp_path / "model",
        texts,
        max_tokens=WINDOW,
    )

    assert len(proof.labels) == len(texts)
    assert len(set(proof.labels)) > 1  # a proof about one label would be none
    assert proof.hugging_face_max_error < 2e-5
    assert proof.onnx_max_error < 2e-5
    assert (tmp_path / "model" / "model.onnx").is_file()


def test_a_model_with_other_labels_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def negated(*given: object) -> PaddedClassifier:
        model = padded_classifier(*given)  # type: ignore[arg-type]
        model.head.weight.neg_()
        return model

    monkeypatch.setattr(preparing, "padded_classifier", negated)
    checkpoint = write_tiny(tmp_path / "checkpoint")

    with pytest.raises(ValueError, match=r"Hugging Face model labels .* otherwise"):
        preparing.prepare(
            checkpoint,
            checkpoint / "tokenizer.json",
            tmp_path / "model",
            headlines(8),
            max_tokens=WINDOW,
        )
