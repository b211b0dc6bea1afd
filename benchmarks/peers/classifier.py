"""The padded classifier that the peers run: a Hugging Face body and a linear head."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import torch
from torch import Tensor, nn
from transformers import AutoModel, PreTrainedModel

_HEAD: Final = "head.pt"


class PaddedClassifier(nn.Module):
    """Scores the last token of each row, as a causal classifier does.

    Attributes:
        body: a causal model without its vocabulary head.
        head: hidden to classes, with a bias, which transformers' own classifiers lack.
    """

    def __init__(self, body: PreTrainedModel, head: nn.Linear) -> None:
        super().__init__()
        self.body = body
        self.head = head

    @classmethod
    def load(cls, folder: Path, *, dtype: torch.dtype = torch.float32) -> PaddedClassifier:
        """Load what ``save`` wrote, for inference."""
        body = AutoModel.from_pretrained(folder, dtype=dtype)
        rows = torch.load(folder / _HEAD, weights_only=True)
        classes, hidden = rows["weight"].shape
        head = nn.Linear(hidden, classes, dtype=dtype)
        head.load_state_dict(rows)
        return cls(body, head).eval().requires_grad_(requires_grad=False)

    def save(self, folder: Path) -> None:
        """Write the body as transformers does, and the head beside it."""
        self.body.save_pretrained(folder)
        torch.save(self.head.state_dict(), folder / _HEAD)

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Score rows.

        Args:
            input_ids: int64 ``[B, T]``, padded on the right.
            attention_mask: int64 ``[B, T]``, one for tokens, zero for padding.

        Returns:
            Logits ``[B, classes]``.
        """
        states = self.body(
            input_ids=input_ids, attention_mask=attention_mask, use_cache=False
        ).last_hidden_state
        rows = torch.arange(states.shape[0], device=states.device)
        logits: Tensor = self.head(states[rows, attention_mask.sum(-1) - 1])
        return logits
