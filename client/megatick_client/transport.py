"""The wire under the client: the one module that knows tritonclient.

One gRPC channel, safe to use from many threads (gRPC's channels are).  Everything that
fails here leaves as a ``ClientError``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
from tritonclient.grpc import (
    InferenceServerClient,
    InferInput,
    InferRequestedOutput,
    InferResult,
)
from tritonclient.utils import InferenceServerException

from megatick_client.deadlines import Deadline
from megatick_client.errors import BadRequest, ClientClosed, ServerError
from megatick_client.requests import Array, Reply, Request
from megatick_client.statuses import translate
from megatick_contract import ContractError, Tensor

CHANNEL: Final = (
    # gRPC's own limit on a reply is 4 MB.  The server's answers are not to be guarded
    # against; its limit on what we send is its own affair.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # A refusal lists its bad rows in a header, where gRPC's own limit is 8 KiB; a server
    # of another release may write more than that.
    ("grpc.max_metadata_size", 1 << 20),
    # gRPC waits up to two minutes before it tries a lost server again.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
)


class Transport:
    """A channel to one server."""

    def __init__(self, address: str) -> None:
        if not _is_address(address):
            raise BadRequest(
                f"address: expected HOST:PORT, found {address!r}.  Triton's gRPC port is "
                "8001 where nobody chose another."
            )
        self.address = address
        self._closed = False
        self._triton = InferenceServerClient(address, channel_args=list(CHANNEL))

    def close(self) -> None:
        """Drop the channel; calls still waiting on it fail with ``ClientClosed``."""
        self._closed = True
        self._triton.close()

    def infer(self, request: Request, deadline: Deadline) -> Reply:
        """Send one request and wait for its reply, no longer than the deadline.

        gRPC gives up at the deadline and tells the server so; ``timeout`` lets the
        server drop the request from its queue by itself.

        Raises:
            ClientError: any of its classes.
        """
        name = request.model.name
        inputs = [_input(tensor, array) for tensor, array in request.inputs.items()]
        outputs = [InferRequestedOutput(tensor.name) for tensor in request.outputs]
        with self._translated(deadline, model=name, rows=request.rows):
            result: InferResult = self._triton.infer(
                name,
                inputs,
                outputs=outputs,
                parameters=dict(request.parameters),
                timeout=max(1, round(deadline.left_s() * 1e6)),  # microseconds; 0 = none
                client_timeout=deadline.left_s(),
            )
        return Reply(
            {
                tensor: self._output(result, tensor, model=name, rows=request.rows)
                for tensor in request.outputs
            }
        )

    def is_live(self, deadline: Deadline) -> bool:
        """Whether the server's process answers."""
        with self._translated(deadline):
            return bool(self._triton.is_server_live(client_timeout=deadline.left_s()))

    def is_ready(self, deadline: Deadline) -> bool:
        """Whether the server has loaded all its models."""
        with self._translated(deadline):
            return bool(self._triton.is_server_ready(client_timeout=deadline.left_s()))

    def is_model_ready(self, model: str, deadline: Deadline) -> bool:
        """Whether the server can answer for this model; False for an unknown one."""
        with self._translated(deadline, model=model):
            return bool(
                self._triton.is_model_ready(model, client_timeout=deadline.left_s())
            )

    def model_versions(self, model: str, deadline: Deadline) -> tuple[str, ...]:
        """Read the versions of a model that are loaded, as Triton names them."""
        with self._translated(deadline, model=model):
            metadata = self._triton.get_model_metadata(
                model, client_timeout=deadline.left_s()
            )
        return tuple(metadata.versions)

    @contextmanager
    def _translated(
        self, deadline: Deadline, *, model: str | None = None, rows: int = 0
    ) -> Iterator[None]:
        try:
            yield
        except InferenceServerException as error:
            if self._closed:
                raise self._use_after_close() from error
            if error.status() is None:
                raise  # tritonclient refused our own arguments: a bug of ours
            raise translate(
                error.status().removeprefix("StatusCode."),
                error.message() or "",
                address=self.address,
                model=model,
                rows=rows,
                timeout_s=deadline.timeout_s,
            ) from error
        except ValueError as error:  # how gRPC answers on a closed channel
            if not self._closed:
                raise
            raise self._use_after_close() from error

    def _use_after_close(self) -> ClientClosed:
        return ClientClosed(
            f"{self.address}: this client is closed.  Make a new one, or call it inside "
            "its 'with' block.",
            address=self.address,
        )

    def _output(
        self, result: InferResult, tensor: Tensor, *, model: str, rows: int
    ) -> Array:
        array: Array | None = result.as_numpy(tensor.name)
        try:
            if array is None:
                raise ContractError(tensor.name, expected="an answer", found="none")
            tensor.check(array)
            if len(array) != rows:
                raise ContractError(
                    tensor.name, expected=f"{rows} rows", found=f"{len(array)}"
                )
        except ContractError as error:
            raise ServerError(
                f"{self.address}: {model!r} broke the contract: {error}.  Client and "
                "server are of different releases?",
                address=self.address,
                model=model,
                detail=str(error),
            ) from error
        return array


def _is_address(address: object) -> bool:
    """Tell whether this is ``HOST:PORT``; that it leads somewhere is gRPC's to find."""
    if not (isinstance(address, str) and address.isprintable()):
        return False
    host, _, port = address.rpartition(":")
    return bool(host) and "/" not in host and port.isdecimal()


def _input(tensor: Tensor, array: Array) -> InferInput:
    tensor.check(array)
    given = InferInput(tensor.name, list(array.shape), tensor.datatype)
    given.set_data_from_numpy(np.ascontiguousarray(array))
    return given
