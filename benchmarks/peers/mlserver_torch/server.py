"""MLServer with adaptive batching, on torch.

    python server.py MODEL_FOLDER PORT

The model runs in MLServer's own worker process, so that requests are read meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
from mlserver import MLModel, MLServer, ModelSettings, Settings
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.settings import ModelParameters
from mlserver.types import InferenceRequest, InferenceResponse
from peers.padding import MOST_TEXTS, WAIT_S
from peers.torch_model import TorchModel


class Classifier(MLModel):
    """TEXT in, PROBABILITIES out."""

    async def load(self) -> bool:
        """Load the model."""
        self.model = TorchModel(Path(str(self.settings.parameters.uri)))
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Score what adaptive batching joined."""
        shares = np.array(self.model(StringCodec.decode_input(payload.inputs[0])))
        output = NumpyCodec.encode_output("PROBABILITIES", shares.astype(np.float32))
        return InferenceResponse(model_name=self.name, outputs=[output])


async def main(folder: str, port: int) -> None:
    """Serve one model."""
    settings = Settings(
        host="127.0.0.1",
        http_port=port,
        grpc_port=0,  # any free one: it cannot be closed
        metrics_endpoint=None,
        parallel_workers=1,
        debug=False,
    )
    model = ModelSettings(
        name="sentiment",
        # By name: the worker imports it, and this file is no module there.
        implementation="peers.mlserver_torch.server.Classifier",
        max_batch_size=MOST_TEXTS,
        max_batch_time=WAIT_S,
        parameters=ModelParameters(uri=folder),
    )
    await MLServer(settings).start([model])


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
