"""Requests and replies as the bytes of KServe v2.

tritonclient brings the messages' definitions; its own clients keep their channels to
themselves and encode a request anew each time it is sent, so the bytes are made here and
gRPC moves them as they are.  docs/decisions/0009 tells what that is worth.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError
from tritonclient.grpc import service_pb2

from megatick_client.requests import Request
from megatick_contract import Tensor

_SERVICE: Final = "/inference.GRPCInferenceService/"
MODEL_INFER: Final = _SERVICE + "ModelInfer"
MODEL_STREAM_INFER: Final = _SERVICE + "ModelStreamInfer"
SERVER_LIVE: Final = _SERVICE + "ServerLive"
SERVER_READY: Final = _SERVICE + "ServerReady"
SERVER_METADATA: Final = _SERVICE + "ServerMetadata"
MODEL_READY: Final = _SERVICE + "ModelReady"
MODEL_METADATA: Final = _SERVICE + "ModelMetadata"

NO_ARGUMENTS: Final = b""
"""The message of a method that is told nothing, such as ``SERVER_READY``."""

_DTYPES: Final[Mapping[str, np.dtype[Any]]] = MappingProxyType(
    {
        "BOOL": np.dtype(np.bool_),
        "INT32": np.dtype("<i4"),
        "INT64": np.dtype("<i8"),
        "FP32": np.dtype("<f4"),
    }
)
_LENGTH: Final = struct.Struct("<I")  # in front of each element of a BYTES tensor


def encode(
    request: Request,
    *,
    timeout_us: int | None = None,
    priority: int | None = None,
    request_id: str = "",
) -> bytes:
    """Make the message of a call.

    Args:
        request: what is asked.
        timeout_us: the request parameter ``timeout``: for how many microseconds the
            server may let it wait; None leaves it to be added ``with_timeout``.
        priority: the request parameter ``priority``, 1 the highest; None for the
            server's default.
        request_id: what the server's log and trace shall call it.
    """
    message = service_pb2.ModelInferRequest(id=request_id)
    if timeout_us is not None:
        message.parameters["timeout"].int64_param = timeout_us
    if priority is not None:
        message.parameters["priority"].uint64_param = priority
    for tensor, array in request.inputs.items():
        tensor.check(array)
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
        message.raw_input_contents.append(
            b"".join(_elements(array))
            if tensor.datatype == "BYTES"
            else np.ascontiguousarray(array).tobytes()
        )
    encoded: bytes = message.SerializeToString()
    parameters = tuple(request.parameters.items())
    return _unchanging(request.model.name, request.outputs, parameters) + encoded


@lru_cache(maxsize=256)
def _unchanging(
    model: str, outputs: tuple[Tensor, ...], parameters: tuple[tuple[str, str], ...]
) -> bytes:
    """The part of a message that is the same in call after call."""
    message = service_pb2.ModelInferRequest(model_name=model)
    for name, value in parameters:
        message.parameters[name].string_param = value
    for tensor in outputs:
        message.outputs.add(name=tensor.name)
    encoded: bytes = message.SerializeToString()
    return encoded


def with_timeout(message: bytes, timeout_s: float) -> bytes:
    """Add for how many seconds the server may let a call wait, at least 1 us.

    A call is encoded once and sent as often as it takes, each time with what is left.
    """
    added = service_pb2.ModelInferRequest()
    added.parameters["timeout"].int64_param = max(1, round(timeout_s * 1e6))
    encoded: bytes = added.SerializeToString()
    return message + encoded


def parse(answer: bytes) -> Any:
    """Read a ``ModelInferResponse``.

    Raises:
        ValueError: the bytes are no such message.
    """
    try:
        return service_pb2.ModelInferResponse.FromString(answer)
    except DecodeError as error:
        raise ValueError(f"no ModelInferResponse: {error}") from error


@dataclass(frozen=True)
class StreamAnswer:
    """A ``ModelStreamInferResponse``.

    Attributes:
        request_id: of the request that it answers.
        error: what went wrong, in the server's words; empty where nothing did.
        message: the ``ModelInferResponse``'s bytes.
    """

    request_id: str
    error: str
    message: bytes


def read_stream_answer(answer: bytes) -> StreamAnswer:
    """Read a ``ModelStreamInferResponse``.

    Raises:
        ValueError: the bytes are no such message.
    """
    try:
        read = service_pb2.ModelStreamInferResponse.FromString(answer)
    except DecodeError as error:
        raise ValueError(f"no ModelStreamInferResponse: {error}") from error
    response = read.infer_response
    return StreamAnswer(response.id, read.error_message, response.SerializeToString())


def outputs_of(response: Any) -> dict[str, npt.NDArray[Any]]:
    """Read the outputs of a ``ModelInferResponse``, by name; the arrays are read-only.

    Raises:
        ValueError: an output's bytes are no such tensor.
    """
    outputs = {}
    for output, raw in zip(response.outputs, response.raw_output_contents, strict=True):
        if output.datatype == "BYTES":
            array = np.fromiter(_split(raw), dtype=object)
        else:
            dtype = _DTYPES.get(output.datatype)
            if dtype is None:
                raise ValueError(f"{output.name}: no datatype of ours: {output.datatype}")
            array = np.frombuffer(raw, dtype)
        outputs[output.name] = array.reshape(tuple(output.shape))
    return outputs


def flag_of(answer: bytes) -> bool:
    """Read a ``ServerLiveResponse``, ``ServerReadyResponse`` or ``ModelReadyResponse``.

    Each is one bool in the same field.

    Raises:
        ValueError: the bytes are no such message.
    """
    try:
        return bool(service_pb2.ServerReadyResponse.FromString(answer).ready)
    except DecodeError as error:
        raise ValueError(f"no ServerReadyResponse: {error}") from error


def decode(answer: bytes) -> Mapping[str, npt.NDArray[Any]]:
    """Read the outputs of an encoded ``ModelInferResponse``, by name.

    Raises:
        ValueError: the bytes are no such message, or a tensor's bytes no such tensor.
    """
    return outputs_of(parse(answer))


def _elements(array: npt.NDArray[Any]) -> Iterator[bytes]:
    for element in array.ravel():
        yield _LENGTH.pack(len(element))
        yield element


def _split(raw: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(raw):
        if len(raw) - at < _LENGTH.size:
            raise ValueError("a BYTES tensor ends within a length")
        (length,) = _LENGTH.unpack_from(raw, at)
        at += _LENGTH.size
        if len(raw) - at < length:
            raise ValueError("a BYTES tensor ends within an element")
        yield raw[at : at + length]
        at += length
