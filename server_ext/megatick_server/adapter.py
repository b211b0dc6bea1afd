"""Between Triton's Python backend and a step: tensors in, tensors out, errors apart.

Triton hands over a list of requests and wants one response for each: at once from
``execute``, or, through ``accept``, whenever a step has it.  A step sees plain arrays and
answers each request with arrays or with an error, so nothing here or in a step imports
Triton's module: ``model.py`` passes it in.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from megatick_contract.models import Model
from megatick_contract.tensors import NUMPY_DTYPES
from megatick_server.audit.log import AuditLog
from megatick_server.errors import OutputUnavailable, RequestDropped, RequestRefused
from megatick_server.meters import Meters
from megatick_server.metrics import FAILURES, REJECTIONS, REQUESTS

_LOG = logging.getLogger(__name__)

Arrays = dict[str, npt.NDArray[Any]]


@dataclass(frozen=True)
class StepRequest:
    """One request as a step sees it.

    Attributes:
        inputs: the tensors that came, by name; an optional one may be absent.
        parameters: the request's custom parameters.
        wanted: names of the outputs that were asked for.
        timeout_s: how long its caller waits, infinite if he does not say.
        cancelled: whether he has given up.
        request_id: what he calls it; empty if he does not say.
    """

    inputs: Mapping[str, npt.NDArray[Any]]
    parameters: Mapping[str, Any]
    wanted: frozenset[str]
    timeout_s: float = math.inf
    cancelled: Callable[[], bool] = lambda: False
    request_id: str = ""


class Step(Protocol):
    """What computes one Triton model; ``audit`` records its replies, if it is there."""

    model: Model
    meters: Meters
    audit: AuditLog | None

    def __call__(
        self, requests: Sequence[StepRequest]
    ) -> Sequence[Arrays | RequestRefused]:
        """Answer each request, in order, with its outputs or why it is refused."""
        ...


Reply = Callable[[Arrays | Exception], None]
"""Answers one request, once, from any thread."""


class DeferredStep(Protocol):
    """What computes one Triton model, and answers each request when it can."""

    model: Model
    meters: Meters
    audit: AuditLog | None

    def accept(self, request: StepRequest, reply: Reply) -> None:
        """Take a request on; what is raised here is its answer."""
        ...


def accept(step: DeferredStep, triton_requests: Sequence[Any], pb_utils: Any) -> None:
    """Hand over what Triton has; the answers follow one by one.

    Args:
        step: the step.
        triton_requests: ``InferenceRequest`` objects, of a model that is not decoupled.
        pb_utils: Triton's ``triton_python_backend_utils``.
    """
    final = pb_utils.TRITONSERVER_RESPONSE_COMPLETE_FINAL
    for triton_request in triton_requests:
        sender = triton_request.get_response_sender()
        request = _read(step.model, triton_request, pb_utils, sender.is_cancelled)
        if isinstance(request, Exception):
            sender.send(_refuse(step, request, pb_utils), flags=final)
            continue

        def reply(
            answer: Arrays | Exception,
            request: StepRequest = request,
            sender: Any = sender,
        ) -> None:
            def send(response: Any) -> None:
                sender.send(response, flags=final)

            _deliver(step, request, answer, pb_utils, send)

        try:
            step.accept(request, reply)
        except (RequestRefused, RequestDropped) as error:
            reply(error)
        except Exception as error:  # noqa: BLE001 whatever it is, batch-mates go on
            _LOG.exception("%s failed on a request", step.model.name)
            reply(error)


def execute(step: Step, triton_requests: Sequence[Any], pb_utils: Any) -> list[Any]:
    """Run a step on what Triton handed over.

    Args:
        step: the step.
        triton_requests: ``InferenceRequest`` objects.
        pb_utils: Triton's ``triton_python_backend_utils``.

    Returns:
        One ``InferenceResponse`` a request, in order.
    """
    requests = [_read(step.model, request, pb_utils) for request in triton_requests]
    readable = [each for each in requests if isinstance(each, StepRequest)]
    answers = iter(_answer(step, readable))
    responses: list[Future[Any]] = [Future() for _ in requests]
    for each, response in zip(requests, responses, strict=True):
        if isinstance(each, StepRequest):
            _deliver(step, each, next(answers), pb_utils, response.set_result)
        else:
            response.set_result(_refuse(step, each, pb_utils))
    return [response.result() for response in responses]


def close(step: Step | DeferredStep) -> None:
    """End what a step's replies are recorded in, where they are."""
    if step.audit is not None:
        step.audit.close()


def _answer(step: Step, requests: Sequence[StepRequest]) -> Sequence[Arrays | Exception]:
    try:
        return step(requests)
    except Exception as error:  # noqa: BLE001 whatever it is, batch-mates go on
        if len(requests) == 1:
            _LOG.exception("%s failed on a request", step.model.name)
            return [error]
        # One request may have broken the batch: each runs again by itself, so that
        # only the one at fault fails.
        return [answer for request in requests for answer in _answer(step, [request])]


def _read(
    model: Model,
    request: Any,
    pb_utils: Any,
    cancelled: Callable[[], bool] = lambda: False,
) -> StepRequest | Exception:
    try:
        return _read_whole(model, request, pb_utils, cancelled)
    except Exception as error:  # noqa: BLE001 whatever it is, batch-mates go on
        _LOG.exception("%s cannot read a request", model.name)
        return error


def _read_whole(
    model: Model, request: Any, pb_utils: Any, cancelled: Callable[[], bool]
) -> StepRequest:
    inputs: Arrays = {}
    for tensor in model.inputs:
        found = pb_utils.get_input_tensor_by_name(request, tensor.name)
        if found is not None:
            inputs[tensor.name] = found.as_numpy()
    return StepRequest(
        inputs=inputs,
        parameters=json.loads(request.parameters() or "{}"),
        wanted=frozenset(request.requested_output_names()),
        timeout_s=request.timeout() / 1e6 or math.inf,  # microseconds; 0 is none
        cancelled=cancelled,
        request_id=request.request_id(),
    )


def _deliver(
    step: Step | DeferredStep,
    request: StepRequest,
    answer: Arrays | Exception,
    pb_utils: Any,
    send: Callable[[Any], None],
) -> None:
    """Send the response to a request, once it is recorded where replies are."""
    answer = _wanted(step.model, request, answer)
    if step.audit is None:
        send(_respond(step, answer, pb_utils))
        return

    def recorded(problem: Exception | None) -> None:
        send(_respond(step, problem or answer, pb_utils))

    step.audit.record(
        request.request_id, request.inputs, request.parameters, answer, recorded
    )


def _wanted(
    model: Model, request: StepRequest, answer: Arrays | Exception
) -> Arrays | Exception:
    """Of an answer, the outputs that were asked for."""
    if isinstance(answer, Exception):
        return answer
    missing = sorted(request.wanted - answer.keys())
    if missing:
        absent = [each.name for each in model.inputs if each.name not in request.inputs]
        return OutputUnavailable(missing, absent_inputs=absent)
    return {name: answer[name] for name in request.wanted}


def _respond(step: Step | DeferredStep, answer: Arrays | Exception, pb_utils: Any) -> Any:
    """Make a response of an answer, and count it."""
    if isinstance(answer, Exception):
        return _refuse(step, answer, pb_utils)
    step.meters.add(REQUESTS)
    return pb_utils.InferenceResponse(
        output_tensors=[
            pb_utils.Tensor(
                tensor.name,
                np.ascontiguousarray(answer[tensor.name], NUMPY_DTYPES[tensor.datatype]),
            )
            for tensor in step.model.outputs
            if tensor.name in answer
        ]
    )


def _refuse(step: Step | DeferredStep, error: Exception, pb_utils: Any) -> Any:
    """Blame the caller for what was refused, and us for the rest; count it."""
    step.meters.add(REQUESTS)
    if isinstance(error, RequestRefused | OutputUnavailable):
        step.meters.add(REJECTIONS, label="invalid")
        told = pb_utils.TritonError(str(error), pb_utils.TritonError.INVALID_ARG)
    elif isinstance(error, RequestDropped):
        step.meters.add(REJECTIONS, label=error.cause)
        told = pb_utils.TritonError(str(error), pb_utils.TritonError.UNAVAILABLE)
    else:
        step.meters.add(FAILURES)
        told = pb_utils.TritonError(
            f"{step.model.name} failed: {type(error).__name__}: {error}",
            pb_utils.TritonError.INTERNAL,
        )
    return pb_utils.InferenceResponse(output_tensors=[], error=told)
