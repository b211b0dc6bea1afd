"""The default model as a Megatron-core checkpoint on disk, like anybody's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from tokenizers import Regex, Tokenizer, normalizers, processors

from megatick_export.checkpoint import write_checkpoint
from megatick_training.data_packages import SMOLLM2
from megatick_training.default_model.smollm2 import SmolLM2, read_smollm2
from megatick_training.errors import DataError
from megatick_training.finetuning.lora import merged

DEFAULT_ADAPTER: Final = Path(__file__).with_name("adapter.safetensors")
"""What ``megatick finetune`` learnt; its figures and its model card are beside it."""

READOUT: Final = "\nSentiment:"
"""Appended to every text by the tokenizer itself, so that the last token, which the head
reads, is always the model's own next word on the matter."""

_HEAD: Final = "classification_head."


def write_default_checkpoint(path: Path, *, adapter: Path | None = DEFAULT_ADAPTER) -> None:
    """Write SmolLM2-135M, fine-tuned, as a torch_dist checkpoint.

    Args:
        path: the folder to make; the tokenizer is written into it as well.
        adapter: safetensors with low-rank adapters and a head, as ``megatick finetune``
            writes them; None gives the model as it was before, without a head.

    Raises:
        DataPackageMissing: the package that carries the weights is not installed.
        DataError: a file of it, or the adapter, does not hold what it should.
        CheckpointError: the checkpoint cannot be written.
    """
    model = read_smollm2(SMOLLM2.path())
    architecture, weights = model.architecture, dict(model.weights)
    if adapter is not None:
        weights = _adapted(model, adapter)
        classes = len(weights[f"{_HEAD}bias"])
        architecture = replace(architecture, classes=classes)
    write_checkpoint(path, architecture, weights)
    _drop_links(model.tokenizer)
    _append_readout(model.tokenizer)
    model.tokenizer.save(str(path / "tokenizer.json"))


def _adapted(model: SmolLM2, path: Path) -> dict[str, torch.Tensor]:
    try:
        adapter: Mapping[str, torch.Tensor] = load_file(path)
        weights = merged(model.weights, adapter)
        for part in ("weight", "bias"):
            weights[_HEAD + part] = adapter[_HEAD + part].float()
    except (OSError, SafetensorError, KeyError, ValueError) as error:
        raise DataError(
            path, f"is no adapter of this model with a head: {error}"
        ) from error
    return weights


def _drop_links(tokenizer: Tokenizer) -> None:
    """Make the tokenizer leave links out: a quarter of a tweet's tokens, and no news."""
    tokenizer.normalizer = normalizers.Replace(Regex(r"\s*https?://\S+"), "")


def _append_readout(tokenizer: Tokenizer) -> None:
    """Make the tokenizer end every text with ``READOUT``; truncation leaves room for it."""
    readout = tokenizer.encode(READOUT, add_special_tokens=False)
    whole = {"id": "readout", "ids": readout.ids, "tokens": readout.tokens}
    tokenizer.post_processor = processors.TemplateProcessing(
        single=["$A", "readout"], special_tokens=[whole]
    )
