"""The pinned server's UNAVAILABLE messages, each provoked and told apart by the table.

Bare tritonclient makes the calls, since the SDK's own deadline comes before Triton's.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import pytest
from held import Held
from tritonclient.grpc import InferenceServerClient, InferInput
from tritonclient.utils import InferenceServerException
from until import until

from megatick_client.errors import (
    ClientError,
    DeadlineExceeded,
    ModelNotReady,
    Overloaded,
    ServerUnavailable,
    Unauthenticated,
)
from megatick_client.statuses import TRITON_UNAVAILABLE, meaning_of
from megatick_server.launcher.options import Api

if TYPE_CHECKING:
    from pathlib import Path

    from tests.client.conftest import StartTriton

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def messages(
    start_triton: StartTriton, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, str]:
    """What Triton says in each case, by the case's name; ends with its server gone."""
    server = start_triton(opened=frozenset({Api.MODEL_REPOSITORY}))
    bare = InferenceServerClient(server.endpoints.grpc)
    folder = tmp_path_factory.mktemp("held")

    def score(text: str, **options: Any) -> None:
        bare.infer("sentiment", _texts(text), **options)

    def view(text: str, **options: Any) -> None:
        bare.infer("market_view", _texts(text) + _prices(), **options)

    said = {"restricted": _unavailable(bare.get_inference_statistics)}
    with _standing_still(view, folder / "1") as held:
        said["queue full"] = _first_refused(view, held)
    with _standing_still(view, folder / "2"):
        said["expired"] = _unavailable(lambda: view("a", timeout=100_000))
    with _standing_still(score, folder / "3"):
        said["expired in an ensemble"] = _unavailable(lambda: score("a", timeout=100_000))

    bare.unload_model("market_view")
    said["unloaded"] = _unavailable(lambda: view("a", model_version="1"))

    with _standing_still(score, folder / "4"):  # it keeps a stopping server up
        os.kill(server.pid, signal.SIGTERM)
        said["stopping, health"] = _unavailable_at_last(bare.is_server_ready)
        said["stopping, inference"] = _unavailable(lambda: score("a"))
    server.stop()
    said["gone"] = _unavailable(lambda: score("a"))
    bare.close()
    return said


@pytest.mark.parametrize(
    ("case", "message", "error"),
    [
        ("restricted", "This protocol is restricted", Unauthenticated),
        ("queue full", "Exceeds maximum queue size", Overloaded),
        ("expired", "Request timeout expired", DeadlineExceeded),
        ("expired in an ensemble", "Request timeout expired", DeadlineExceeded),
        ("unloaded", "is not at ready state", ModelNotReady),
        (
            "stopping, inference",
            "has stopped accepting new inference requests",
            ServerUnavailable,
        ),
        ("stopping, health", "Server exiting", ServerUnavailable),
    ],
)
def test_message(
    messages: dict[str, str], case: str, message: str, error: type[ClientError]
) -> None:
    assert message in messages[case]
    assert message in TRITON_UNAVAILABLE
    assert meaning_of("UNAVAILABLE", messages[case]).error is error


def test_a_server_that_is_gone_is_in_no_table_of_tritons(messages: dict[str, str]) -> None:
    assert not any(part in messages["gone"] for part in TRITON_UNAVAILABLE)
    assert meaning_of("UNAVAILABLE", messages["gone"]).error is ServerUnavailable


def test_every_message_of_the_table_was_provoked(messages: dict[str, str]) -> None:
    for part in TRITON_UNAVAILABLE:
        assert any(part in said for said in messages.values()), part


@contextmanager
def _standing_still(call: Callable[[str], None], folder: Path) -> Iterator[Held]:
    """Keep a model from answering meanwhile."""
    held = Held(folder)
    thread = threading.Thread(target=call, args=[held.text])
    thread.start()
    try:
        held.wait()
        yield held
    finally:
        held.let_go()
        thread.join()


def _first_refused(call: Callable[[str], None], held: Held) -> str:
    """Call while a model stands still, until one finds its queue full; the others wait."""
    refused: list[str] = []

    def wait_in_queue() -> None:
        try:
            call("a")
        except InferenceServerException as error:
            refused.append(_message(error))

    waiting = [threading.Thread(target=wait_in_queue) for _ in range(48)]
    for thread in waiting:
        thread.start()
    until(lambda: refused)
    held.let_go()
    for thread in waiting:
        thread.join()
    return refused[0]


def _unavailable_at_last(call: Callable[[], object]) -> str:
    """Call again and again until it fails, whatever it answers before."""
    failed: list[str] = []

    def has_failed() -> bool:
        try:
            call()
        except InferenceServerException as error:
            failed.append(_message(error))
        return bool(failed)

    until(has_failed)
    return failed[0]


def _unavailable(call: Callable[[], object]) -> str:
    with pytest.raises(InferenceServerException) as caught:
        call()
    return _message(caught.value)


def _message(error: InferenceServerException) -> str:
    assert error.status() == "StatusCode.UNAVAILABLE"
    return str(error.message())


def _texts(text: str) -> list[InferInput]:
    return [_input("TEXT", np.array([[text.encode()]], object), "BYTES")]


def _prices() -> list[InferInput]:
    return [
        _input("PRICES", np.ones((1, 64), np.float32), "FP32"),
        _input("SENTIMENT_STATE", np.zeros((1, 4), np.float32), "FP32"),
        _input("ELAPSED_S", np.zeros((1, 1), np.float32), "FP32"),
    ]


def _input(name: str, array: npt.NDArray[Any], datatype: str) -> InferInput:
    given = InferInput(name, list(array.shape), datatype)
    given.set_data_from_numpy(array)
    return given
