"""A served repository beside what it should answer."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from tokenizers import Tokenizer

from megatick_export import Network, Receipt
from megatick_server.launcher import TritonServer


@dataclass(frozen=True)
class Served:
    """What runs, and what it should answer."""

    server: TritonServer
    receipt: Receipt
    network: Network
    tokenizer: Tokenizer

    def probabilities(self, text: str) -> npt.NDArray[np.float32]:
        """What the reference network makes of a text, alone and unpadded: shape (3,)."""
        ids = self.tokenizer.encode(text).ids
        with torch.inference_mode():
            logits: torch.Tensor = self.network(torch.tensor([ids]))
        probabilities: npt.NDArray[np.float32] = logits.softmax(-1)[0].numpy()
        return probabilities
