"""FastAPI and transformers on torch, with a micro-batcher.

    python server.py MODEL_FOLDER PORT

The batch runs on a thread of its own, so that requests are read meanwhile.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import uvicorn
from fastapi import FastAPI
from peers.micro_batches import Answer, MicroBatcher
from peers.padding import MOST_TEXTS, WAIT_S
from peers.torch_model import TorchModel
from pydantic import BaseModel


class Asked(BaseModel):
    """A request."""

    text: str


class Told(BaseModel):
    """A reply."""

    probabilities: list[float]


def build(folder: Path) -> FastAPI:
    """Load the model, and make the application."""
    model = TorchModel(folder)
    thread = ThreadPoolExecutor(1)

    async def run(texts: Sequence[str]) -> list[Answer]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(thread, model, texts)

    batcher = MicroBatcher(run, loops=1, most=MOST_TEXTS, wait_s=WAIT_S)
    app = FastAPI(lifespan=lambda _: batcher.running())

    @app.post("/classify")
    async def classify(asked: Asked) -> Told:
        return Told(probabilities=await batcher.ask(asked.text))

    return app


if __name__ == "__main__":
    uvicorn.run(build(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning")
