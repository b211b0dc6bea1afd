"""One Triton response a request, whatever happens to its batch-mates."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from megatick_contract.models import Model
from megatick_contract.rejections import Rejection
from megatick_contract.tensors import Tensor
from megatick_server.adapter import Arrays, Reply, StepRequest, accept, execute
from megatick_server.errors import RequestDropped, RequestRefused
from megatick_server.meters import Meters

MODEL = Model(
    "halve",
    (Tensor("X", "FP32", (1,), "a number"), Tensor("Y", "FP32", (1,), "", optional=True)),
    (Tensor("HALF", "FP32", (1,), "half of it"), Tensor("BOTH", "FP32", (1,), "X + Y")),
)


class Halve:
    """Halves X; refuses a negative one, and breaks the whole batch on a 13."""

    model = MODEL
    audit: Any = None

    def __init__(self) -> None:
        self.batches: list[int] = []
        self.meters = Meters(MODEL.name)

    def __call__(self, requests: Sequence[StepRequest]) -> list[Arrays | RequestRefused]:
        self.batches.append(len(requests))
        answers: list[Arrays | RequestRefused] = []
        for request in requests:
            x = request.inputs["X"]
            if (x == 13).any():
                raise ZeroDivisionError("thirteen")
            if (x < 0).any():
                answers.append(RequestRefused([Rejection(0, "X", "is negative")], rows=1))
                continue
            y = request.inputs.get("Y", np.zeros_like(x))
            scale = request.parameters.get("scale", 1)
            answers.append({"HALF": x / 2 * scale, "BOTH": x + y})
        return answers


@dataclass
class FakeRequest:
    """What Triton's stub gives for a request, as far as the adapter asks."""

    tensors: dict[str, Any]
    wanted: list[str] = field(default_factory=lambda: ["HALF"])
    custom: dict[str, Any] = field(default_factory=dict)
    timeout_us: int = 0
    name: str = ""
    cancelled: bool = False
    responses: list[tuple[Any, str]] = field(default_factory=list)

    def parameters(self) -> str:
        if "broken" in self.custom:
            raise ValueError("no JSON")
        return json.dumps(self.custom) if self.custom else ""

    def requested_output_names(self) -> list[str]:
        return self.wanted

    def timeout(self) -> int:
        return self.timeout_us

    def request_id(self) -> str:
        return self.name

    def get_response_sender(self) -> FakeRequest:
        return self

    def is_cancelled(self) -> bool:
        return self.cancelled

    def send(self, response: Any, flags: str) -> None:
        self.responses.append((response, flags))


class FakeError(Exception):
    INVALID_ARG, INTERNAL, UNAVAILABLE = "INVALID_ARG", "INTERNAL", "UNAVAILABLE"

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


def find(request: FakeRequest, name: str) -> Any:
    array = request.tensors.get(name)
    return None if array is None else SimpleNamespace(as_numpy=lambda: array)


PB_UTILS = SimpleNamespace(
    get_input_tensor_by_name=find,
    TRITONSERVER_RESPONSE_COMPLETE_FINAL="FINAL",
    TritonError=FakeError,
    Tensor=lambda name, array: SimpleNamespace(name=name, array=array),
    InferenceResponse=lambda output_tensors, error=None: SimpleNamespace(
        tensors={tensor.name: tensor.array for tensor in output_tensors}, error=error
    ),
)


def request(x: float, **more: Any) -> FakeRequest:
    return FakeRequest({"X": np.array([[x]], np.float32)}, **more)


def test_only_the_outputs_that_were_asked_for_come_back_in_the_wires_dtype() -> None:
    (response,) = execute(Halve(), [request(3.0, wanted=["BOTH"])], PB_UTILS)

    assert response.error is None
    assert list(response.tensors) == ["BOTH"]
    assert response.tensors["BOTH"].dtype == np.float32


def test_optional_inputs_and_custom_parameters_reach_the_step() -> None:
    one = request(3.0, wanted=["HALF", "BOTH"], custom={"scale": 10})
    one.tensors["Y"] = np.array([[4.0]], np.float32)

    (response,) = execute(Halve(), [one], PB_UTILS)

    assert response.tensors["HALF"].tolist() == [[15.0]]
    assert response.tensors["BOTH"].tolist() == [[7.0]]


def test_a_refused_request_fails_alone_as_the_callers_fault() -> None:
    first, second, third = execute(
        Halve(), [request(2.0), request(-1.0), request(4.0)], PB_UTILS
    )

    assert first.tensors["HALF"].tolist() == [[1.0]]
    assert third.tensors["HALF"].tolist() == [[2.0]]
    assert second.error.code == "INVALID_ARG"
    assert str(second.error) == "1 bad value in 1 row: [row 0, X] is negative"


def test_an_output_that_needs_an_absent_input_is_refused_alone() -> None:
    class NoBoth(Halve):
        def __call__(self, requests: Sequence[StepRequest]) -> list[Any]:
            answers = super().__call__(requests)
            for each, answer in zip(requests, answers, strict=True):
                if "Y" not in each.inputs and isinstance(answer, dict):
                    del answer["BOTH"]
            return answers

    first, second = execute(
        NoBoth(), [request(2.0, wanted=["BOTH"]), request(4.0)], PB_UTILS
    )

    assert first.error.code == "INVALID_ARG"
    assert "output BOTH cannot be computed without the optional input Y" in str(first.error)
    assert second.tensors["HALF"].tolist() == [[2.0]]


def test_an_output_that_the_model_does_not_give_is_refused_alone() -> None:
    class NoBoth(Halve):
        def __call__(self, requests: Sequence[StepRequest]) -> list[Any]:
            return [{"HALF": each.inputs["X"] / 2} for each in requests]

    whole = request(2.0, wanted=["HALF", "BOTH"])
    whole.tensors["Y"] = np.array([[4.0]], np.float32)
    first, second = execute(NoBoth(), [whole, request(4.0)], PB_UTILS)

    assert first.error.code == "INVALID_ARG"
    assert str(first.error) == (
        "output BOTH is not given by the model as it was exported: name only the outputs "
        "that you want"
    )
    assert second.tensors["HALF"].tolist() == [[2.0]]


def test_a_request_that_cannot_be_read_fails_alone() -> None:
    first, second = execute(
        Halve(), [request(2.0, custom={"broken": True}), request(4.0)], PB_UTILS
    )

    assert (first.error.code, str(first.error)) == (
        "INTERNAL",
        "halve failed: ValueError: no JSON",
    )
    assert second.tensors["HALF"].tolist() == [[2.0]]


def test_a_request_that_breaks_the_batch_fails_alone_as_ours(
    caplog: pytest.LogCaptureFixture,
) -> None:
    step = Halve()

    first, second, third = execute(
        step, [request(2.0), request(13.0), request(4.0)], PB_UTILS
    )

    assert [first.error, third.error] == [None, None]
    assert second.error.code == "INTERNAL"
    assert str(second.error) == "halve failed: ZeroDivisionError: thirteen"
    assert step.batches == [3, 1, 1, 1]
    assert "thirteen" in caplog.text


class Later:
    """Keeps every request, to be answered by hand; turns a negative X away at once."""

    model = MODEL
    audit: Any = None

    def __init__(self) -> None:
        self.kept: list[tuple[StepRequest, Reply]] = []
        self.meters = Meters(MODEL.name)

    def accept(self, request: StepRequest, reply: Reply) -> None:
        x = float(request.inputs["X"][0, 0])
        if x < 0:
            raise RequestDropped("queue_full", "9 requests wait already")
        if x == 13:
            raise ZeroDivisionError("thirteen")
        self.kept.append((request, reply))


def test_a_deferred_step_answers_when_it_will_and_in_any_order() -> None:
    step, first, second = Later(), request(2.0), request(4.0)

    accept(step, [first, second], PB_UTILS)
    assert (first.responses, second.responses) == ([], [])
    for value, (_, reply) in zip((2.0, 1.0), reversed(step.kept), strict=True):
        reply({"HALF": np.array([[value]])})

    for each, expected in ((first, 1.0), (second, 2.0)):
        ((response, flags),) = each.responses
        assert (flags, response.tensors["HALF"].tolist()) == ("FINAL", [[expected]])
        assert response.tensors["HALF"].dtype == np.float32


def test_a_deferred_step_knows_how_long_its_caller_waits() -> None:
    step, gone = Later(), request(4.0)

    accept(step, [request(2.0, timeout_us=1_500_000), gone], PB_UTILS)
    gone.cancelled = True

    first, second = (each for each, _ in step.kept)
    assert (first.timeout_s, first.cancelled()) == (1.5, False)
    assert (second.timeout_s, second.cancelled()) == (float("inf"), True)


def test_what_a_deferred_step_turns_away_is_answered_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    step = Later()
    dropped, broken, unreadable, kept = (
        request(-1.0),
        request(13.0),
        request(2.0, custom={"broken": True}),
        request(4.0),
    )

    accept(step, [dropped, broken, unreadable, kept], PB_UTILS)

    errors = [each.responses[0][0].error for each in (dropped, broken, unreadable)]
    assert [(each.code, str(each)) for each in errors] == [
        ("UNAVAILABLE", "Exceeds maximum queue size: 9 requests wait already"),
        ("INTERNAL", "halve failed: ZeroDivisionError: thirteen"),
        ("INTERNAL", "halve failed: ValueError: no JSON"),
    ]
    assert kept.responses == []
    assert len(step.kept) == 1
    assert "thirteen" in caplog.text


def counted(meters: Meters) -> dict[str, float]:
    """What is not zero, by the metric's name and its label; the time of day aside."""
    return {
        " ".join([each.name, *(value for name, value in each.labels if name != "model")]): n
        for each, n in meters.totals().items()
        if n and each.name != "megatick_told_timestamp_seconds"
    }


def test_each_request_is_counted_once_with_what_became_of_it() -> None:
    now, later = Halve(), Later()
    good, invalid, broken = request(2.0), request(-1.0), request(13.0)
    no_such_output = request(2.0, wanted=["BOTH", "NONE"])
    unreadable = request(2.0, custom={"broken": True})

    execute(now, [good, invalid, broken, no_such_output, unreadable], PB_UTILS)
    accept(later, [request(2.0), request(-1.0), request(13.0), unreadable], PB_UTILS)
    assert counted(later.meters)["megatick_requests_total"] == 3
    later.kept[0][1]({"HALF": np.ones((1, 1))})

    assert counted(now.meters) == {
        "megatick_requests_total": 5,
        "megatick_rejections_total invalid": 2,
        "megatick_failures_total": 2,
    }
    assert counted(later.meters) == {
        "megatick_requests_total": 4,
        "megatick_rejections_total queue_full": 1,
        "megatick_failures_total": 2,
    }


def test_a_deferred_answer_without_an_output_is_refused() -> None:
    step, one = Later(), request(2.0, wanted=["HALF", "BOTH"])

    accept(step, [one], PB_UTILS)
    step.kept[0][1]({"HALF": np.ones((1, 1))})

    ((response, _),) = one.responses
    assert response.error.code == "INVALID_ARG"
    assert "output BOTH cannot be computed without the optional input Y" in str(
        response.error
    )
