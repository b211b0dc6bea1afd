"""A KServe-v2 endpoint of this process, whose every fault is on purpose.

A text of ``p`` plus signs has the probabilities (1, 1, 1 + p) / (3 + p), so its score is
p / (3 + p).
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import grpc  # type: ignore[import-untyped]
import numpy as np
import numpy.typing as npt
from tritonclient.grpc import service_pb2, service_pb2_grpc
from tritonclient.utils import deserialize_bytes_tensor, serialize_byte_tensor

Arrays = dict[str, npt.NDArray[Any]]

_DATATYPES = {"float32": "FP32", "int32": "INT32", "bool": "BOOL", "object": "BYTES"}


@dataclass
class Endpoint(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
    """The service, and what it saw.

    Attributes:
        stall_at: number of the call, from 0, with which everything stands still.
        stall_s: for how long; who calls meanwhile waits for the end of it.
        refuse: calls with these numbers are refused as by a full queue.
        tolerance: of a score, which its metadata then say that it states; None for a
            server that has no metadata of models.
        spoil: changes the outputs of a call, given its number.
        requests: every message that came.
        headers: gRPC's metadata of each.
        address: where it listens.
    """

    stall_at: int | None = None
    stall_s: float = 0.0
    refuse: range = range(0)
    tolerance: float | None = None
    spoil: Callable[[int, Arrays], None] = lambda number, outputs: None
    requests: list[Any] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    address: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _stalled_until: float = 0.0

    def ModelInfer(self, request: Any, context: Any) -> Any:  # noqa: N802  gRPC's name
        with self._lock:
            number = len(self.requests)
            self.requests.append(request)
            self.headers.append(dict(context.invocation_metadata()))
            if number == self.stall_at:
                self._stalled_until = time.monotonic() + self.stall_s
        time.sleep(max(0.0, self._stalled_until - time.monotonic()))
        if number in self.refuse:
            context.abort(grpc.StatusCode.UNAVAILABLE, "Exceeds maximum queue size")
        self.check(texts_of(request), context)
        return self.answer(request, number)

    def check(self, texts: list[str], context: Any) -> None:
        """A fault of another kind may end the call here."""

    def answers(self, texts: list[str]) -> Arrays:
        """What it says of texts."""
        return answers_to(texts)

    def answer(self, request: Any, number: int = 0) -> Any:
        """The reply to a request."""
        outputs = self.answers(texts_of(request))
        if self.tolerance is not None:
            rows = len(outputs["SCORE"])
            outputs["SCORE_TOLERANCE"] = np.full((rows, 1), self.tolerance, np.float32)
        self.spoil(number, outputs)
        response = service_pb2.ModelInferResponse(model_name=request.model_name)
        for output in request.outputs:
            array = outputs[output.name]
            datatype = _DATATYPES[array.dtype.name]
            response.outputs.add(name=output.name, datatype=datatype, shape=array.shape)
            raw = serialize_byte_tensor(array).item() if datatype == "BYTES" else array
            response.raw_output_contents.append(bytes(raw))
        return response

    def ModelMetadata(self, request: Any, context: Any) -> Any:  # noqa: N802
        if self.tolerance is None:
            context.abort(grpc.StatusCode.UNIMPLEMENTED, "Method not implemented!")
        response = service_pb2.ModelMetadataResponse(name=request.name)
        for name in ("PROBABILITIES", "SCORE", "SCORE_TOLERANCE"):
            response.outputs.add(name=name)
        return response

    def ModelConfig(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ModelConfigResponse()

    def ModelStatistics(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ModelStatisticsResponse()

    def ServerLive(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerLiveResponse(live=True)

    def ServerReady(self, request: Any, context: Any) -> Any:  # noqa: N802
        return service_pb2.ServerReadyResponse(ready=True)


EndpointT = TypeVar("EndpointT", bound=Endpoint)


def texts_of(request: Any) -> list[str]:
    """Texts of a ``ModelInferRequest``."""
    return [
        text.decode() for text in deserialize_bytes_tensor(request.raw_input_contents[0])
    ]


def answers_to(texts: list[str]) -> Arrays:
    """Outputs of ``sentiment``, by the arithmetic above."""
    plusses = np.array([[0, 0, text.count("+")] for text in texts], np.float32)
    probabilities = (1 + plusses) / (3 + plusses.sum(axis=1, keepdims=True))
    return {
        "PROBABILITIES": probabilities,
        "SCORE": probabilities[:, 2:] - probabilities[:, :1],
        "TOKENS": np.array([[len(text.split())] for text in texts], np.int32),
        "TRUNCATED": np.zeros((len(texts), 1), np.bool_),
        "MODEL_DIGEST": np.full((len(texts), 1), b"d1" * 32, object),
    }


@contextmanager
def serve(endpoint: EndpointT, *, threads: int = 400, port: int = 0) -> Iterator[EndpointT]:
    """Listen on loopback, on a free port for 0; calls beyond ``threads`` wait for one."""
    server = grpc.server(ThreadPoolExecutor(threads))
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(endpoint, server)
    endpoint.address = f"127.0.0.1:{server.add_insecure_port(f'127.0.0.1:{port}')}"
    server.start()
    try:
        yield endpoint
    finally:
        server.stop(grace=None).wait()
