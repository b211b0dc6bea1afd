"""A served repository beside what it should answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from tiny import write_tiny
from tokenizers import Tokenizer

from megatick_export import (
    ExportOptions,
    Network,
    Receipt,
    export_repository,
    read_checkpoint,
    reference_network,
)
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
def serve_tiny(folder: Path, *, embedding: bool = False) -> Iterator[Served]:
    """Export a tiny Llama into a folder in float32, and serve it over gRPC and HTTP."""
    checkpoint = write_tiny(folder / "checkpoint")
    options = ExportOptions(precision="fp32", embedding=embedding)
    receipt = export_repository(checkpoint, folder / "repository", options=options)
    ports = ServeOptions(grpc_port=0, http_port=0, metrics_port=None)
    with TritonServer(folder / "repository", ports) as server:
        yield Served(
            server,
            receipt,
            reference_network(read_checkpoint(checkpoint)),
            Tokenizer.from_file(str(checkpoint / "tokenizer.json")),
        )
