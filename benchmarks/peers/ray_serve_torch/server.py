"""Ray Serve with ``@serve.batch``, on torch.

python server.py MODEL_FOLDER PORT
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path

import ray
from peers.padding import MOST_TEXTS, WAIT_S
from peers.torch_model import TorchModel
from ray import serve
from starlette.requests import Request


@serve.deployment(
    num_replicas=1, max_ongoing_requests=256, ray_actor_options={"num_cpus": 2}
)
class Classifier:
    """Texts in, probabilities out."""

    def __init__(self, folder: str) -> None:
        self.model = TorchModel(Path(folder))

    @serve.batch(max_batch_size=MOST_TEXTS, batch_wait_timeout_s=WAIT_S)
    async def score(self, texts: list[str]) -> list[list[float]]:
        """Score a batch."""
        return self.model(texts)

    async def __call__(self, request: Request) -> dict[str, list[float]]:
        """Answer one request."""
        asked = await request.json()
        return {"probabilities": await self.score(asked["text"])}


def main(folder: str, port: int) -> None:
    """Serve until told to stop, then stop Ray's own processes too."""
    ray.init(address="local", include_dashboard=False, log_to_driver=False)
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    bound = Classifier.bind(folder)  # type: ignore[attr-defined]  # the decorator's
    serve.run(bound, route_prefix="/classify")
    try:
        signal.pause()
    finally:
        serve.shutdown()
        ray.shutdown()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
