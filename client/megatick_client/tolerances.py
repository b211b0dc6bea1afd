"""How far the same text's score may move: what a server says of its own precision.

In bf16, fp16 or fp8 a score moves with the rows that it is computed beside.  A server says
by how much, as its export measured it, in an output that nobody else need ask for; its
metadata tells whether it has that output.
"""

from __future__ import annotations

from dataclasses import replace

from tritonclient.grpc import service_pb2

from megatick_client.attempts import Answer, Line, Query, answer, ask, query_of, read_reply
from megatick_client.deadlines import Deadline
from megatick_client.requests import Request
from megatick_client.steps import Exchange
from megatick_client.wire import MODEL_METADATA
from megatick_contract.text import SCORE_TOLERANCE


def ask_tolerance(
    request: Request, line: Line, deadline: Deadline
) -> Exchange[float | None]:
    """Ask a model for its tolerance, with the first row of a request.

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
    name = request.model.name
    asked = service_pb2.ModelMetadataRequest(name=name).SerializeToString()
    told = yield from answer(line, Query(MODEL_METADATA, asked, name), deadline)
    outputs = service_pb2.ModelMetadataResponse.FromString(told.message).outputs
    if SCORE_TOLERANCE.name not in {output.name for output in outputs}:
        return None
    _, row = next(request.chunks(1))
    row = replace(row, outputs=(SCORE_TOLERANCE,))
    request_id = line.request_id()
    message = yield from ask(query_of(row, request_id), told.endpoint, deadline)
    answered = Answer(message, told.endpoint, elapsed_s=0.0, attempts=1)
    reply = read_reply(row, answered, request_id=request_id)
    return float(reply[SCORE_TOLERANCE][0, 0])
