"""One request until it is answered: whose turn, how long, and what if it fails.

Written as exchanges (``megatick_client.steps``), so that nothing here blocks or awaits.
"""

from __future__ import annotations

import itertools
import math
import os
import random
import time
from dataclasses import dataclass, field, replace
from typing import Final

from megatick_client.deadlines import Deadline
from megatick_client.endpoints import Endpoint, Endpoints
from megatick_client.errors import (
    BadRequest,
    DeadlineExceeded,
    ModelNotReady,
    ServerError,
    ServerUnavailable,
)
from megatick_client.hedging import Latencies
from megatick_client.replies import ReplyInfo
from megatick_client.requests import Array, Reply, Request
from megatick_client.retries import Budget, Retries, may_repeat
from megatick_client.steps import Exchange, Outcome, Probe, Race, Send, Sleep
from megatick_client.wire import (
    MODEL_INFER,
    NO_ARGUMENTS,
    SERVER_READY,
    encode,
    outputs_of,
    parse,
    with_timeout,
)
from megatick_contract import STAGES_OF, ContractError, Tensor
from megatick_contract.models import MODEL_DIGEST, STAGE_US

PROBE_S: Final = 1.0
"""How long a probe may take."""

LEAST_S: Final = 0.02
"""A server that did not answer within less is not to blame."""


@dataclass(eq=False)
class Line:
    """What all calls of one client share.

    Attributes:
        endpoints: the servers.
        retries: how a call is repeated.
        budget: the repeats that are left.
        latencies: of the calls so far, where they are hedged; else None.
        draw: where the jitter comes from.
    """

    endpoints: Endpoints
    retries: Retries
    latencies: Latencies | None
    draw: random.Random = field(default_factory=random.Random)
    budget: Budget = field(init=False)
    _names: str = field(init=False)
    _numbers: itertools.count[int] = field(init=False, default_factory=itertools.count)

    def __post_init__(self) -> None:
        """Begin with a full budget, and with request ids of its own."""
        self.budget = Budget(self.retries.budget)
        self._names = os.urandom(4).hex()

    def request_id(self) -> str:
        """Name the next request: no other client will, nor will this one again."""
        return f"{self._names}-{next(self._numbers)}"


@dataclass(frozen=True)
class Query:
    """A message, and how it may be sent.

    Attributes:
        method: gRPC's path of the method.
        message: its bytes.
        model: of which model, or None.
        rows: of the request; 0 where it is none, and the server is told no timeout.
        request_id: of the request; empty where it is none.
    """

    method: str
    message: bytes = NO_ARGUMENTS
    model: str | None = None
    rows: int = 0
    request_id: str = ""

    def to(self, endpoint: Endpoint, deadline: Deadline) -> Send:
        """Make the sending of it to a server, with what is left of the deadline."""
        left_s = deadline.left_s()
        message = with_timeout(self.message, left_s) if self.rows else self.message
        return Send(
            endpoint,
            self.method,
            message,
            left_s,
            deadline.timeout_s,
            self.model,
            self.rows,
            self.request_id,
        )


@dataclass(frozen=True)
class Answer:
    """What a server sent back.

    Attributes:
        message: its bytes.
        endpoint: the server.
        elapsed_s: seconds from the last sending, or the first of a hedged pair.
        attempts: sendings in all, >= 1.
    """

    message: bytes
    endpoint: Endpoint
    elapsed_s: float
    attempts: int


def infer(line: Line, request: Request, deadline: Deadline) -> Exchange[Reply]:
    """Send a request of R >= 1 rows, and read its reply.

    Raises:
        ClientError: any of its classes.
    """
    request_id = line.request_id()
    answered = yield from answer(line, query_of(request, request_id), deadline)
    return read_reply(request, answered, request_id=request_id)


def infer_all(line: Line, request: Request, deadline: Deadline) -> Exchange[Reply]:
    """Send a request's chunks one after another, within one deadline.

    Refused chunks do not stop the rest: their rows are gathered, so that one error
    names every bad row of the call.
    """
    replies: list[Reply] = []
    refusals: list[tuple[int, BadRequest]] = []
    for start, chunk in request.chunks():
        try:
            replies.append((yield from infer(line, chunk, deadline)))
        except BadRequest as error:
            if not error.rejections:
                raise
            refusals.append((start, error))
    if refusals:
        raise BadRequest.joined(refusals, rows=request.rows) from refusals[0][1]
    return Reply.joined(replies)


def query_of(request: Request, request_id: str) -> Query:
    """Encode a request of R >= 1 rows."""
    message = encode(request, request_id=request_id)
    return Query(MODEL_INFER, message, request.model.name, request.rows, request_id)


def answer(line: Line, query: Query, deadline: Deadline) -> Exchange[Answer]:
    """Send a message to whose turn it is, and again where that is safe, until answered.

    A server that does not answer costs no attempt while another is untried: each is tried
    once, however many there are.  After that, and where a queue is full, the retries'
    attempts, waits and budget count.

    Raises:
        ClientError: the last one.
    """
    tried: list[Endpoint] = []
    attempts, repeats = 0, 0
    while True:
        for due in line.endpoints.due_for_a_probe():
            yield Probe(Query(SERVER_READY).to(due, Deadline.after(PROBE_S)))
        begin_s = time.perf_counter()
        outcome, sendings = yield from _attempt(line, query, deadline, tried)
        elapsed_s = time.perf_counter() - begin_s
        attempts += sendings
        endpoint, error = outcome.send.endpoint, outcome.error
        if error is None:
            line.budget.succeeded()
            return Answer(outcome.answer, endpoint, elapsed_s, attempts)
        tried.append(endpoint)
        elsewhere = line.endpoints.another_than(tried)
        if line.retries.attempts == 1 or not may_repeat(error, elsewhere=elsewhere):
            raise error
        if elsewhere and isinstance(error, ServerUnavailable | ModelNotReady):
            if deadline.left_s() == 0:
                raise error
            continue
        line.budget.failed()
        repeats += 1
        wait_s = line.retries.wait_s(repeats, line.draw)
        if (
            repeats >= line.retries.attempts
            or not line.budget.allows
            or wait_s >= deadline.left_s()
        ):
            raise error
        yield Sleep(wait_s)


def ask(query: Query, endpoint: Endpoint, deadline: Deadline) -> Exchange[bytes]:
    """Send a message to this very server, once, and count it in nobody's turn.

    Raises:
        ClientError: it does not answer well.
    """
    outcome = yield query.to(endpoint, deadline)
    assert outcome is not None  # noqa: S101  steps.Send says so
    if outcome.error is not None:
        raise outcome.error
    return outcome.answer


def _attempt(
    line: Line, query: Query, deadline: Deadline, tried: list[Endpoint]
) -> Exchange[tuple[Outcome, int]]:
    """Send once; where calls are hedged and the answer is late, a second time beside it.

    Returns:
        What became of it, and how often it was sent.
    """
    chosen: list[Endpoint] = []

    def send() -> Send:
        endpoint = line.endpoints.choose(avoid=(*tried, *chosen))
        chosen.append(endpoint)
        return query.to(endpoint, deadline)

    after_s = None
    if line.latencies and query.rows and line.budget.allows:
        after_s = line.latencies.hedge_after_s(query.model, query.rows)
    outcome = None
    begin_s = time.perf_counter()
    try:
        first = send()
        outcome = yield first if after_s is None else Race(first, send, after_s)
        assert outcome is not None  # noqa: S101  steps.Send says so
        if line.latencies and outcome.error is None:
            # Of a call that lost its race it is known only that it took this long.
            elapsed_s = time.perf_counter() - begin_s
            beaten = after_s is not None and outcome.send is not first
            took_s = after_s if beaten and after_s is not None else elapsed_s
            line.latencies.add(query.model, query.rows, took_s)
        return outcome, len(chosen)
    finally:
        _settle(line.endpoints, chosen, outcome)


def _settle(endpoints: Endpoints, chosen: list[Endpoint], outcome: Outcome | None) -> None:
    """Count how the sendings of one attempt ended.

    Args:
        endpoints: the servers.
        chosen: whom it was sent to, in order; a pair may have gone to one server.
        outcome: of the attempt; None where its caller ended it.
    """
    if outcome is None:
        for endpoint in chosen:
            endpoints.given_up(endpoint)
        return
    ended = outcome.send.endpoint
    hurried = outcome.send.timeout_s < LEAST_S
    if isinstance(outcome.error, DeadlineExceeded) and hurried:
        endpoints.given_up(ended)
    else:
        endpoints.done(ended, outcome.error)
    others = list(chosen)
    others.remove(ended)
    for endpoint in others:
        if endpoint is chosen[0]:
            endpoints.beaten(endpoint)
        else:
            endpoints.given_up(endpoint)


def read_reply(request: Request, answered: Answer, *, request_id: str) -> Reply:
    """Read the answer to a request, and hold it to the contract.

    Raises:
        ServerError: it breaks it.
    """
    address, model = answered.endpoint.address, request.model.name
    try:
        response = parse(answered.message)
        found = outputs_of(response)
        outputs = {
            tensor: _checked(tensor, found.get(tensor.name), rows=request.rows)
            for tensor in request.outputs
        }
        about = ReplyInfo(
            request_id,
            address,
            model,
            response.model_version,
            answered.elapsed_s,
            answered.attempts,
        )
        return Reply(outputs, _about_each(about, outputs, rows=request.rows))
    except (ContractError, ValueError) as error:
        raise ServerError(
            f"{address}: {model!r} broke the contract: {error}.  Client and server are of "
            "different releases?",
            address=address,
            model=model,
            detail=str(error),
        ) from error


def _checked(tensor: Tensor, array: Array | None, *, rows: int) -> Array:
    if array is None:
        raise ContractError(tensor.name, expected="an answer", found="none")
    tensor.check(array)
    if len(array) != rows:
        raise ContractError(tensor.name, expected=f"{rows} rows", found=f"{len(array)}")
    return array


def _about_each(
    about: ReplyInfo, outputs: dict[Tensor, Array], *, rows: int
) -> tuple[ReplyInfo, ...]:
    """Say of each row where it comes from; only what ``timings`` asked for may differ."""
    if STAGE_US not in outputs:
        return (about,) * rows
    digests, times = outputs[MODEL_DIGEST][:, 0], outputs[STAGE_US].tolist()
    return tuple(
        replace(
            about, model_digest=digest.decode(), stages_s=_stages(about.model, times_us)
        )
        for digest, times_us in zip(digests, times, strict=True)
    )


def _stages(model: str, times_us: list[float]) -> dict[str, float]:
    return {
        name: time_us / 1e6
        for name, time_us in zip(STAGES_OF[model], times_us, strict=True)
        if not math.isnan(time_us)
    }
