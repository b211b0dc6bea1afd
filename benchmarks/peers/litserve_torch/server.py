"""LitServe, with its own batching, on torch.

    python server.py MODEL_FOLDER PORT

The annotations are not put off: LitServe makes the route's body of them.
"""

import sys
from pathlib import Path
from typing import Any

import litserve
from peers.padding import MOST_TEXTS, WAIT_S
from peers.torch_model import TorchModel


class Classifier(litserve.LitAPI):
    """Texts in, probabilities out."""

    def setup(self, device: str) -> None:
        """Load the model, in the worker's process."""
        self.model = TorchModel(Path(sys.argv[1]))

    def decode_request(self, request: dict[str, Any]) -> str:
        """Take the text."""
        return str(request["text"])

    def batch(self, inputs: list[str]) -> list[str]:
        """Keep the texts as they are: the model pads them."""
        return inputs

    def predict(self, x: list[str]) -> list[list[float]]:
        """Score a batch."""
        return self.model(x)

    def unbatch(self, output: list[list[float]]) -> list[list[float]]:
        """Give each request its own."""
        return output

    def encode_response(self, output: list[float]) -> dict[str, list[float]]:
        """Name the answer."""
        return {"probabilities": output}


if __name__ == "__main__":
    api = Classifier(max_batch_size=MOST_TEXTS, batch_timeout=WAIT_S, api_path="/classify")
    server = litserve.LitServer(api, accelerator="cpu", workers_per_device=1)
    server.run(
        host="127.0.0.1",
        port=int(sys.argv[2]),
        log_level="warning",
        generate_client_file=False,
    )
