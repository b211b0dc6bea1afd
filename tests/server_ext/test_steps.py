"""A step whose process dies is loaded again by whoever waits for the server."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tritonclient.grpc as triton
from until import until

from megatick_server.errors import LaunchError, StepDiedError
from megatick_server.launcher import Api, ServeOptions, TritonServer
from megatick_server.launcher.steps import Steps, _ended

pytestmark = pytest.mark.triton

WriteModel = Callable[..., Path]

# Triton 2.51 waits for a step that died for as long as it may.
ON_FREE_PORTS = ServeOptions(grpc_port=0, metrics_port=None, stop_timeout_s=2)


def steps_of(server: TritonServer) -> list[int]:
    """Processes of the identity's that are alive."""
    found = []
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = file.read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if f"{server._directory}/models/identity/".encode() in line:
            found.append(int(file.parent.name))
    return found


def answers(server: TritonServer) -> bool:
    request = triton.InferInput("IN", [1, 1], "FP32")
    request.set_data_from_numpy(np.ones((1, 1), np.float32))
    with triton.InferenceServerClient(server.endpoints.grpc) as client:
        try:
            reply = client.infer("identity", [request], client_timeout=10)
        except triton.InferenceServerException:
            return False
        return bool(reply.as_numpy("OUT")[0, 0] == 1.0)


@contextmanager
def waited_for(server: TritonServer) -> Iterator[list[Exception]]:
    """What ``wait`` raised, once it ended."""
    raised: list[Exception] = []

    def wait() -> None:
        try:
            server.wait()
        except LaunchError as error:
            raised.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    try:
        yield raised
    finally:
        server.stop()
        thread.join()


def test_it_is_replaced_once_and_then_no_more(identity_repository: Path) -> None:
    with (
        TritonServer(identity_repository, ON_FREE_PORTS) as server,
        waited_for(server) as raised,
    ):
        (first,) = steps_of(server)
        os.kill(first, signal.SIGKILL)
        until(lambda: not answers(server))
        until(lambda: answers(server))
        (second,) = steps_of(server)
        assert second != first

        os.kill(second, signal.SIGKILL)
        until(lambda: not server.running)
        until(lambda: bool(raised))

    (error,) = raised
    assert isinstance(error, StepDiedError)
    assert error.model == "identity"
    assert "s after it was replaced" in str(error)
    assert not server._directory.exists()


TAKES_ON = """
class TritonPythonModel:
    def execute(self, requests):
        self._kept = [each.get_response_sender() for each in requests]
"""


def test_calls_that_a_dead_step_had_taken_on_end_at_their_deadline(
    write_model: WriteModel,
) -> None:
    """Triton answers them neither as the step dies nor once another is loaded."""
    repository = write_model(code=TAKES_ON)
    request = triton.InferInput("IN", [1, 1], "FP32")
    request.set_data_from_numpy(np.ones((1, 1), np.float32))
    ended: list[triton.InferenceServerException] = []

    def done(result: object, error: triton.InferenceServerException) -> None:
        ended.append(error)

    with (
        TritonServer(repository, ON_FREE_PORTS) as server,
        triton.InferenceServerClient(server.endpoints.grpc) as client,
    ):
        client.async_infer("identity", [request], done, client_timeout=10)
        (first,) = steps_of(server)
        time.sleep(1)  # it has the call
        os.kill(first, signal.SIGKILL)
        until(lambda: _ended(first))
        server.check()
        server.check()
        assert steps_of(server) not in ([], [first])
        until(lambda: bool(ended))

    assert ended[0].status() == "StatusCode.DEADLINE_EXCEEDED"


def test_a_step_that_dies_during_a_reload_is_replaced_after_it(
    identity_repository: Path,
) -> None:
    """By another thread: each hears of its own loading, and neither waits for ever."""
    with (
        TritonServer(identity_repository, ON_FREE_PORTS) as server,
        waited_for(server) as raised,
    ):
        for step in steps_of(server):
            os.kill(step, signal.SIGKILL)
        until(lambda: not answers(server))
        server.reload()
        until(lambda: answers(server))

    assert not [each for each in raised if isinstance(each, StepDiedError)]


def test_a_step_that_a_reload_has_replaced_is_not_replaced_again(
    identity_repository: Path,
) -> None:
    """Triton keeps the dead one for some seconds; a minute later it may die in earnest."""
    with TritonServer(identity_repository, ON_FREE_PORTS) as server:
        (dead,) = steps_of(server)
        os.kill(dead, signal.SIGKILL)
        server.reload()
        (loaded,) = steps_of(server)
        assert _ended(dead), "Triton still keeps it"

        for _ in range(4):
            server.check()

        assert steps_of(server) == [loaded]
        assert not server._replaced_s

        os.kill(loaded, signal.SIGKILL)
        until(lambda: _ended(loaded))
        server.check()
        server.check()
        assert list(server._replaced_s) == ["identity"]
        assert answers(server)


def test_whoever_waits_is_let_go_by_a_stop(
    identity_repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with TritonServer(identity_repository, ON_FREE_PORTS) as server:
        look = server.check

        def check() -> None:
            server.stop()  # as another thread would, at that moment
            look()

        monkeypatch.setattr(server, "check", check)
        server.wait()


def test_a_dead_step_of_a_model_that_is_no_longer_served_is_nothing(
    identity_repository: Path,
) -> None:
    with TritonServer(identity_repository, ON_FREE_PORTS) as server:
        server._replace("gone")

        assert server.running
        assert answers(server)


def test_where_callers_load_models_the_server_ends(identity_repository: Path) -> None:
    options = replace(ON_FREE_PORTS, opened=frozenset({Api.MODEL_REPOSITORY}))
    with (
        TritonServer(identity_repository, options) as server,
        waited_for(server) as raised,
    ):
        (step,) = steps_of(server)
        os.kill(step, signal.SIGKILL)
        until(lambda: bool(raised))

    assert "callers alone load models" in str(raised[0])


def test_the_others_of_a_model_that_was_loaded_again_are_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of two instances one died: with the next two, Triton ends the other."""
    steps = Steps(os.getpid())
    steps._models |= {7: "identity", 8: "identity", 9: "other"}
    steps.replaced(steps.met("identity"))
    monkeypatch.setattr("megatick_server.launcher.steps._children", lambda _: [7, 8, 9])
    monkeypatch.setattr("megatick_server.launcher.steps._ended", lambda _: True)

    assert [steps.died(), steps.died()] == [set(), {"other"}]


def test_a_step_that_triton_ends_is_not_dead(identity_repository: Path) -> None:
    with TritonServer(identity_repository, ON_FREE_PORTS) as server:
        steps = Steps(server.pid)
        assert steps.died() == set()
        server.reload()
        assert steps.died() == set()
        assert steps.died() == set()


def test_a_dead_step_is_told_once_and_at_the_second_look(
    identity_repository: Path,
) -> None:
    with TritonServer(identity_repository, ON_FREE_PORTS) as server:
        steps = Steps(server.pid)
        steps.meet()
        (step,) = steps_of(server)
        os.kill(step, signal.SIGKILL)
        until(lambda: _ended(step))

        assert [steps.died(), steps.died(), steps.died()] == [set(), {"identity"}, set()]


def test_a_number_that_the_kernel_gives_again_is_another_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended: list[set[int]] = [{7}, {7}, {7}, set(), {7}, {7}]
    steps = Steps(1)
    steps._models[7] = "identity"
    monkeypatch.setattr(steps, "_look", lambda: ended.pop(0))

    told = [steps.died() for _ in range(6)]

    assert told == [set(), {"identity"}, set(), set(), set(), {"identity"}]
