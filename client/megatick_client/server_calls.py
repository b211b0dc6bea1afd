"""What the servers can be asked: how they are, what they have loaded, and to warm up.

As ``megatick_client.calls``, written once for both clients.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Final

from tritonclient.grpc import service_pb2

from megatick_client.attempts import Answer, Line, Query, answer, ask, query_of, read_reply
from megatick_client.deadlines import Deadline
from megatick_client.embeddings import embedding_request
from megatick_client.endpoints import Endpoint
from megatick_client.errors import (
    ClientError,
    DeadlineExceeded,
    ModelNotReady,
    ServerUnavailable,
)
from megatick_client.forecasts import forecast_request
from megatick_client.health import Health, ModelStatus, ServerHealth, ServerMetadata
from megatick_client.market_views import market_view_request
from megatick_client.price_windows import read_prices
from megatick_client.requests import Request
from megatick_client.sentiment_states import read_elapsed, read_states
from megatick_client.sentiments import sentiment_request
from megatick_client.steps import Exchange
from megatick_client.surface import Call
from megatick_client.texts import read_texts
from megatick_client.wire import (
    MODEL_METADATA,
    MODEL_READY,
    SERVER_LIVE,
    SERVER_METADATA,
    SERVER_READY,
    flag_of,
)
from megatick_contract import OPTIONAL_MODELS, PUBLIC_MODELS
from megatick_contract.text import SCORE_TOLERANCE

_PLAIN_TEXT: Final = "The company left its outlook for the year as it was."


def health(*, timeout_s: float | None = None) -> Call[Health]:
    """Ask every server how it is; see ``is_ready`` for a plain yes or no.

    Each server has its share of the time, so that one that hangs hides no other.

    Raises:
        ServerUnavailable: nobody answers; ``DeadlineExceeded`` if the last one hangs.
    """

    def exchange(line: Line, deadline: Deadline) -> Exchange[Health]:
        found: list[ServerHealth] = []
        errors: list[ClientError] = []
        for endpoint, its_own in _each(line, deadline):
            try:
                live = yield from _flag(endpoint, SERVER_LIVE, its_own)
                ready = yield from _flag(endpoint, SERVER_READY, its_own)
            except ClientError as error:
                errors.append(error)
                status = ServerHealth(endpoint.address, False, False, str(error))
            else:
                status = ServerHealth(endpoint.address, live, ready)
            found.append(status)
        if len(errors) == len(found):
            raise errors[-1]
        return Health(tuple(found))

    return Call(exchange, timeout_s)


def is_ready(*, timeout_s: float | None = None) -> Call[bool]:
    """Whether a server answers and has loaded all its models; raises for neither."""

    def exchange(line: Line, deadline: Deadline) -> Exchange[bool]:
        for endpoint, its_own in _each(line, deadline):
            try:
                if (yield from _flag(endpoint, SERVER_READY, its_own)):
                    return True
            except (DeadlineExceeded, ServerUnavailable):
                continue
        return False

    return Call(exchange, timeout_s)


def models(*, timeout_s: float | None = None) -> Call[tuple[ModelStatus, ...]]:
    """List the public models, and which of them the server whose turn it is has."""

    def status(name: str, line: Line, deadline: Deadline) -> Exchange[ModelStatus]:
        try:
            told, endpoint = yield from _metadata_of(name, line, deadline)
        except ModelNotReady:
            return ModelStatus(name, ready=False, versions=())
        asked = service_pb2.ModelReadyRequest(name=name).SerializeToString()
        ready = yield from ask(Query(MODEL_READY, asked, name), endpoint, deadline)
        return ModelStatus(name, flag_of(ready), tuple(told.versions))

    def exchange(line: Line, deadline: Deadline) -> Exchange[tuple[ModelStatus, ...]]:
        found: tuple[ModelStatus, ...] = ()
        for model in PUBLIC_MODELS + OPTIONAL_MODELS:
            found += ((yield from status(model.name, line, deadline)),)
        return found

    return Call(exchange, timeout_s)


def metadata(*, timeout_s: float | None = None) -> Call[tuple[ServerMetadata, ...]]:
    """Ask every server what it is.

    Raises:
        ServerUnavailable: one does not answer; ``health`` tells which do.
    """

    def exchange(line: Line, deadline: Deadline) -> Exchange[tuple[ServerMetadata, ...]]:
        found = []
        for endpoint, its_own in _each(line, deadline):
            answered = yield from ask(Query(SERVER_METADATA), endpoint, its_own)
            told = service_pb2.ServerMetadataResponse.FromString(answered)
            extensions = tuple(told.extensions)
            found.append(
                ServerMetadata(endpoint.address, told.name, told.version, extensions)
            )
        return tuple(found)

    return Call(exchange, timeout_s)


def score_tolerance(*, timeout_s: float | None = None) -> Call[float | None]:
    """Ask how far a text's score may move with the rows that it is computed beside.

    In float32 that is next to nothing; in bf16, fp16 or fp8 two answers to one text may
    lie so far apart and both be right.

    Returns:
        What the export of the model measured, of the server whose turn it is; a number
        > 0.  None where it was exported before servers could tell.

    Raises:
        ModelNotReady: the server has no ``sentiment``, or has not loaded it yet.
        ClientError: see the class.
    """
    request = sentiment_request(read_texts(_PLAIN_TEXT), "head")
    return Call(lambda line, deadline: ask_tolerance(request, line, deadline), timeout_s)


def ask_tolerance(
    request: Request, line: Line, deadline: Deadline
) -> Exchange[float | None]:
    """Ask a model for its tolerance, with the first row of a request.

    It is an output that nobody else need ask for; the metadata say whether there is one.

    Args:
        request: of R >= 1 rows, to any model that scores.
        line: what the client's calls share.
        deadline: of both questions, whether it states one and which.

    Returns:
        A number > 0 in the unit of a score; None of a model that states none.

    Raises:
        ClientError: any of its classes; ``ServerError`` where the server there has no
            metadata of models.
    """
    told, endpoint = yield from _metadata_of(request.model.name, line, deadline)
    if SCORE_TOLERANCE.name not in {output.name for output in told.outputs}:
        return None
    _, row = next(request.chunks(1))
    row = replace(row, outputs=(SCORE_TOLERANCE,))
    request_id = line.request_id()
    message = yield from ask(query_of(row, request_id), endpoint, deadline)
    answered = Answer(message, endpoint, elapsed_s=0.0, attempts=1)
    reply = read_reply(row, answered, request_id=request_id)
    return float(reply[SCORE_TOLERANCE][0, 0])


def warm_up(*, timeout_s: float | None = None) -> Call[Health]:
    """Connect to every server and have each of its models answer once.

    What a first call would pay for is then paid: connecting, and TLS.

    Returns:
        How the servers are; one that does not answer names its ``problem``.

    Raises:
        ServerUnavailable: nobody answers.
    """
    texts, prices = read_texts(_PLAIN_TEXT), read_prices([1.0, 1.0])
    states, elapsed = read_states(None, rows=1), read_elapsed(0.0, rows=1)
    requests = (
        sentiment_request(texts, "head"),
        forecast_request(prices, states, elapsed),
        market_view_request(texts, prices, states, elapsed, "head"),
        embedding_request(texts, "head"),
    )

    def exchange(line: Line, deadline: Deadline) -> Exchange[Health]:
        found = yield from health().exchange(line, deadline)
        for server, endpoint in zip(found.servers, line.endpoints.all, strict=True):
            for request in requests if server.live else ():
                with suppress(ModelNotReady):  # nothing to warm
                    yield from ask(query_of(request, line.request_id()), endpoint, deadline)
        return found

    return Call(exchange, timeout_s)


def _each(line: Line, deadline: Deadline) -> Iterator[tuple[Endpoint, Deadline]]:
    """Every server, each with its share of the time that those before it left."""
    servers = line.endpoints.all
    for number, endpoint in enumerate(servers):
        yield endpoint, deadline.share(len(servers) - number)


def _metadata_of(
    name: str, line: Line, deadline: Deadline
) -> Exchange[tuple[service_pb2.ModelMetadataResponse, Endpoint]]:
    """What the server whose turn it is says of a model, and which server that was."""
    asked = service_pb2.ModelMetadataRequest(name=name).SerializeToString()
    told = yield from answer(line, Query(MODEL_METADATA, asked, name), deadline)
    return service_pb2.ModelMetadataResponse.FromString(told.message), told.endpoint


def _flag(endpoint: Endpoint, method: str, deadline: Deadline) -> Exchange[bool]:
    """Ask a server whether it is live, or ready."""
    return flag_of((yield from ask(Query(method), endpoint, deadline)))
