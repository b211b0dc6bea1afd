"""Refusals of many rows, which gRPC carries in a header: every bad row is still named."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any

import grpc  # type: ignore[import-untyped]
import numpy as np
import pytest
from tritonclient.grpc import InferenceServerClient, InferInput, service_pb2_grpc
from tritonclient.utils import InferenceServerException

from megatick_client import BadRequest, Client, ClientError, Rejection, ServerError
from megatick_contract.rejections import parse, unlisted
from megatick_contract.text import TooLong

NO_PRICE = [float("nan")]


@contextmanager
def refusing(detail: str, *options: tuple[str, int]) -> Iterator[str]:
    """A gRPC server of this process that refuses all with these words; its address."""

    class Refusing(service_pb2_grpc.GRPCInferenceServiceServicer):  # type: ignore[misc]
        def ModelInfer(self, request: Any, context: Any) -> None:  # noqa: N802
            context.abort(grpc.StatusCode.INVALID_ARGUMENT, detail)

    server = grpc.server(ThreadPoolExecutor(1), options=options)
    service_pb2_grpc.add_GRPCInferenceServiceServicer_to_server(Refusing(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.stop(grace=None).wait()


def refusal_of(address: str, texts: Sequence[str] = ("a",)) -> ClientError:
    with Client(address) as client, pytest.raises(ClientError) as caught:
        client.score(texts)
    return caught.value


@pytest.mark.triton
def test_every_row_and_field_of_a_market_view(client: Client) -> None:
    with pytest.raises(BadRequest) as refused:
        client.market_view([" "] * 64, [NO_PRICE] * 64)

    assert refused.value.status == "INVALID_ARGUMENT"
    assert refused.value.rows == tuple(range(64))
    assert {r.field for r in refused.value.rejections} == {"TEXT", "PRICES"}
    assert len(refused.value.rejections) == 128


@pytest.mark.triton
def test_every_row_of_three_requests(client: Client) -> None:
    """150 rows, each too long in a way of its own: row i has 9 + i tokens."""
    texts = [" ".join("a" * (9 + row)) for row in range(150)]

    with pytest.raises(BadRequest) as refused:
        client.score(texts, truncation="error")

    assert refused.value.rejections == tuple(
        Rejection(row, "TEXT", str(TooLong(9 + row, window=8))) for row in range(150)
    )
    assert refused.value.unlisted == 0


@pytest.mark.triton
@pytest.mark.parametrize("distinct", [False, True], ids=["alike", "each-its-own"])
def test_a_bare_client_gets_the_refusal_of_256_rows(address: str, distinct: bool) -> None:
    """With gRPC's own limit on headers; what has no room is counted."""
    texts = [" ".join("a" * (9 + row * distinct)).encode() for row in range(256)]
    given = InferInput("TEXT", [256, 1], "BYTES")
    given.set_data_from_numpy(np.array(texts, object)[:, np.newaxis])

    with (
        InferenceServerClient(address) as bare,
        pytest.raises(InferenceServerException) as caught,
    ):
        bare.infer("sentiment", [given], parameters={"truncation": "error"})

    assert caught.value.status() == "StatusCode.INVALID_ARGUMENT"
    message = str(caught.value.message())
    listed = parse(message)
    assert len(listed) + unlisted(message) == 256
    assert [rejection.row for rejection in listed] == list(range(len(listed)))
    # Some 100 bytes a problem, 6 KiB of them.
    assert (len(listed) == 256) is not distinct
    assert len(listed) > 50


def test_a_server_of_another_release_may_list_at_length() -> None:
    """Each row alone and in full, 14 KiB of them."""
    problem = "has close -1 at bar 3, expected finite closes above 0" + " or NaN" * 50
    items = "; ".join(f"[row {row}, PRICES] {problem}" for row in range(32))
    assert len(items) > 12_000

    with refusing(f"32 bad values in 32 rows: {items}") as address:
        error = refusal_of(address, ["a"] * 32)

    assert isinstance(error, BadRequest)
    assert error.rejections == tuple(Rejection(row, "PRICES", problem) for row in range(32))


def test_more_words_than_grpc_carries_are_no_full_queue() -> None:
    with refusing("x" * (2 << 20)) as address:
        error = refusal_of(address)

    assert type(error) is ServerError
    assert error.status == "RESOURCE_EXHAUSTED"
    assert "Send fewer rows at a time" in str(error)


def test_a_request_that_is_too_large_is_no_full_queue() -> None:
    with refusing("", ("grpc.max_receive_message_length", 1000)) as address:
        error = refusal_of(address, ["a" * 2000])

    assert type(error) is BadRequest
    assert error.status == "RESOURCE_EXHAUSTED"
    assert "larger than the server takes" in str(error)
