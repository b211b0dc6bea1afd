"""A call as the bytes of a KServe-v2 ``ModelInferRequest``, and its answer's bytes back.

Requests are made before the clock runs and answers are read after it has stopped, so that
while it runs the sender moves bytes and does little else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError
from tritonclient.grpc import InferResult, service_pb2
from tritonclient.utils import serialize_byte_tensor

from megatick_client.requests import Request

MODEL_INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
"""The method's name in gRPC."""


def encode(request: Request, *, timeout_us: int, priority: int | None = None) -> bytes:
    """Make the message of a call.

    Args:
        request: what is asked.
        timeout_us: the request parameter ``timeout``: for how many microseconds the
            server may let it wait.
        priority: the request parameter ``priority``, 1 the highest; None for the
            server's default.
    """
    message = service_pb2.ModelInferRequest(model_name=request.model.name)
    for name, value in request.parameters.items():
        message.parameters[name].string_param = value
    message.parameters["timeout"].int64_param = timeout_us
    if priority is not None:
        message.parameters["priority"].uint64_param = priority
    for tensor, array in request.inputs.items():
        tensor.check(array)
        message.inputs.add(name=tensor.name, datatype=tensor.datatype, shape=array.shape)
        if tensor.datatype == "BYTES":
            raw = serialize_byte_tensor(array).item()
        else:
            raw = np.ascontiguousarray(array).tobytes()
        message.raw_input_contents.append(raw)
    for tensor in request.outputs:
        message.outputs.add(name=tensor.name)
    encoded: bytes = message.SerializeToString()
    return encoded


def decode(answer: bytes) -> Mapping[str, npt.NDArray[Any]]:
    """Read the outputs of a ``ModelInferResponse``, by name.

    Raises:
        ValueError: the bytes are no such message, or a tensor's bytes no such tensor.
    """
    try:
        message = service_pb2.ModelInferResponse.FromString(answer)
    except DecodeError as error:
        raise ValueError(f"no ModelInferResponse: {error}") from error
    result = InferResult(message)
    return {output.name: result.as_numpy(output.name) for output in message.outputs}
