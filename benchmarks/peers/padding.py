"""Texts to padded token arrays, and logits to the answer, the same in every peer.

A model folder is what ``prepare`` wrote: ``tokenizer.json``, ``window.json``, the model as
transformers reads it, and ``model.onnx``.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

MOST_TEXTS: Final = 32
"""Texts in a peer's batch, at most."""

WAIT_S: Final = 0.005
"""How long a peer's batch waits for more."""


class Padder:
    """A tokenizer that pads each batch to its longest text, and cuts at the window."""

    def __init__(self, folder: Path) -> None:
        window = json.loads((folder / "window.json").read_text())
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.enable_truncation(window["max_tokens"])
        self._tokenizer.enable_padding(pad_id=0)

    def __call__(
        self, texts: Sequence[str]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Tokenize; returns ids and attention mask, each int64 ``[texts, longest]``."""
        rows = self._tokenizer.encode_batch_fast(list(texts))
        return (
            np.array([row.ids for row in rows], np.int64),
            np.array([row.attention_mask for row in rows], np.int64),
        )


def probabilities(logits: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    """Softmax over the last axis."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares: npt.NDArray[np.float32] = powers / powers.sum(axis=-1, keepdims=True)
    return shares
