"""A served repository beside what it should answer."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from exported import Exported
from tokenizers import Tokenizer

from megatick_export import Network, Receipt, read_checkpoint, reference_network
from megatick_server.launcher import ServeOptions, TritonServer


@dataclass(frozen=True)
class Served:
    """What runs, and what it should answer."""

    server: TritonServer
    receipt: Receipt
    network: Network
    tokenizer: Tokenizer

    def probabilities(self, text: str) -> npt.NDArray[np.float32]:
        """What the reference network makes of a text, alone and unpadded: shape (3,)."""
        with torch.inference_mode():
            logits: torch.Tensor = self.network(self._ids(text))
        probabilities: npt.NDArray[np.float32] = logits.softmax(-1)[0].numpy()
        return probabilities

    def last_hidden_state(self, text: str) -> npt.NDArray[np.float32]:
        """Of the text's last token, after the reference's final norm: shape (hidden,)."""
        with torch.inference_mode():
            hidden = self.network.encode(self._ids(text))
        last: npt.NDArray[np.float32] = hidden[0, -1].numpy()
        return last

    def _ids(self, text: str) -> torch.Tensor:
        return torch.tensor([self.tokenizer.encode(text).ids])


@contextmanager
def serve_copy(exported: Exported, folder: Path) -> Iterator[Served]:
    """Copy a repository into a folder, and serve the copy over gRPC and HTTP."""
    shutil.copytree(exported.out, folder / "repository")
    ports = ServeOptions(grpc_port=0, http_port=0, metrics_port=None)
    with TritonServer(folder / "repository", ports) as server:
        yield Served(
            server,
            exported.receipt,
            reference_network(read_checkpoint(exported.checkpoint)),
            Tokenizer.from_file(str(exported.checkpoint / "tokenizer.json")),
        )
