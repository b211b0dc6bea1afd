"""FastAPI, a micro-batcher, and OpenVINO's asynchronous queue on the padded graph.

    python server.py MODEL_FOLDER PORT

Precision and streams are OpenVINO's own choice under its throughput hint.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import openvino as ov
import uvicorn
from fastapi import FastAPI
from peers.micro_batches import Answer, MicroBatcher
from peers.padding import MOST_TEXTS, WAIT_S, Padder, probabilities
from pydantic import BaseModel


class Asked(BaseModel):
    """A request."""

    text: str


class Told(BaseModel):
    """A reply."""

    probabilities: list[float]


def build(folder: Path) -> FastAPI:
    """Compile the graph, and make the application."""
    padder = Padder(folder)
    compiled = ov.Core().compile_model(
        str(folder / "model.onnx"), "CPU", {"PERFORMANCE_HINT": "THROUGHPUT"}
    )
    jobs = compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
    queue = ov.AsyncInferQueue(compiled, jobs)

    def done(request: ov.InferRequest, future: asyncio.Future[list[Answer]]) -> None:
        answers = probabilities(request.get_output_tensor().data).tolist()
        future.get_loop().call_soon_threadsafe(future.set_result, answers)

    queue.set_callback(done)

    async def run(texts: Sequence[str]) -> list[Answer]:
        future: asyncio.Future[list[Answer]] = asyncio.get_running_loop().create_future()
        queue.start_async(list(padder(texts)), future)
        return await future

    batcher = MicroBatcher(run, loops=jobs, most=MOST_TEXTS, wait_s=WAIT_S)
    app = FastAPI(lifespan=lambda _: batcher.running())

    @app.post("/classify")
    async def classify(asked: Asked) -> Told:
        return Told(probabilities=await batcher.ask(asked.text))

    return app


if __name__ == "__main__":
    uvicorn.run(build(Path(sys.argv[1])), port=int(sys.argv[2]), log_level="warning")
