"""The classification head that training begins with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from tokenizers import Tokenizer

from megatick_contract import LABELS
from megatick_export.checkpoint import Checkpoint
from megatick_training.errors import HeadWordsError

_DEVIATION = 0.02
"""Of a new head's weights: Megatron's own ``--init-method-std``."""


def with_head(checkpoint: Checkpoint, *, seed: int) -> Checkpoint:
    """Give a checkpoint without a head of three rows a new one, of small random weights."""
    if checkpoint.architecture.classes == len(LABELS):
        return checkpoint
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(
        len(LABELS), checkpoint.architecture.hidden_size, generator=generator
    )
    return _headed(checkpoint, rows * _DEVIATION)


def with_word_head(
    checkpoint: Checkpoint, tokenizer: Tokenizer, words: Sequence[str]
) -> Checkpoint:
    """Give it the rows of three words of its own vocabulary.

    So the head begins as what the model itself would write next.

    Args:
        checkpoint: a GPT.
        tokenizer: its tokenizer.
        words: one for each of ``LABELS``, each a single token, such as `` positive``.

    Raises:
        HeadWordsError: not three, a BERT, or a word that is not one token.
    """
    if checkpoint.architecture.kind != "gpt":
        raise HeadWordsError("only a GPT writes a next word: leave --head-words out")
    if len(words) != len(LABELS):
        raise HeadWordsError(
            f"expected a word for each of {', '.join(LABELS)}, found {len(words)}"
        )
    ids = [tokenizer.encode(word, add_special_tokens=False).ids for word in words]
    for word, tokens in zip(words, ids, strict=True):
        if len(tokens) != 1:
            raise HeadWordsError(
                f"{word!r} is {len(tokens)} tokens of this tokenizer, expected one; a "
                "leading space often makes it so"
            )
    table = "embedding.word_embeddings.weight"
    if not checkpoint.architecture.tied_embeddings:
        table = "output_layer.weight"
    chosen = [tokens[0] for tokens in ids]
    return _headed(checkpoint, checkpoint.weights[table][chosen].float().clone())


def _headed(checkpoint: Checkpoint, rows: torch.Tensor) -> Checkpoint:
    head = {
        "classification_head.weight": rows,
        "classification_head.bias": torch.zeros(len(rows)),
    }
    return replace(
        checkpoint,
        architecture=replace(checkpoint.architecture, classes=len(rows)),
        weights={**checkpoint.weights, **head},
    )
