"""The padded classifier on torch, as the Python servers among the peers run it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from peers.classifier import PaddedClassifier
from peers.padding import Padder, probabilities


class TorchModel:
    """Texts in, probabilities out, in bfloat16 where the CPU multiplies in it."""

    def __init__(self, folder: Path) -> None:
        wide = torch.float32
        dtype = torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else wide
        self._padder = Padder(folder)
        self._model = PaddedClassifier.load(folder, dtype=dtype)

    def __call__(self, texts: Sequence[str]) -> list[list[float]]:
        """Score a batch: a list of each class's probability a text."""
        input_ids, attention_mask = self._padder(texts)
        with torch.inference_mode():
            logits = self._model(torch.tensor(input_ids), torch.tensor(attention_mask))
        shares: list[list[float]] = probabilities(logits.float().numpy()).tolist()
        return shares
