"""A call as tensors: what is asked, how it is cut into requests, what comes back.

Nothing here touches a socket, so that every kind of client shares it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from megatick_client.errors import BadRequest
from megatick_client.replies import ReplyInfo
from megatick_contract import Model, Tensor
from megatick_contract.admission import DEFAULT_PRIORITY, PRIORITIES, PRIORITY_PARAMETER
from megatick_contract.models import MODEL_DIGEST, STAGE_US

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Request:
    """Rows for one model.

    Attributes:
        model: the model to call.
        inputs: every input of the model; arrays of R rows each.
        outputs: the outputs to ask for; the server computes and sends no others.
        parameters: Triton's request parameters.
    """

    model: Model
    inputs: Mapping[Tensor, Array]
    outputs: tuple[Tensor, ...]
    parameters: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def rows(self) -> int:
        """R, which may be 0."""
        return len(next(iter(self.inputs.values())))

    def in_lane(self, priority: object) -> Request:
        """The same request as a live one, or as backfill that lets the live ones pass.

        Raises:
            BadRequest: no such ``Priority``.
        """
        if not (isinstance(priority, str) and priority in PRIORITIES):
            raise BadRequest(
                f"priority: expected one of {', '.join(PRIORITIES)}, found {priority!r:.40}"
            )
        if priority == DEFAULT_PRIORITY:
            return self
        lane = {PRIORITY_PARAMETER: priority}
        return replace(self, parameters={**self.parameters, **lane})

    def timed(self, timings: bool) -> Request:
        """The same request, which also asks how long each stage took, and of what model."""
        if not timings:
            return self
        return replace(self, outputs=(*self.outputs, MODEL_DIGEST, STAGE_US))

    def chunks(self, rows: int | None = None) -> Iterator[tuple[int, Request]]:
        """Cut into requests of at most so many rows, each with its first row's number.

        Args:
            rows: at most; None is what every server's model takes.
        """
        rows = self.model.rows_per_request if rows is None else rows
        if 0 < self.rows <= rows:
            yield 0, self
            return
        for start in range(0, self.rows, rows):
            part = slice(start, start + rows)
            inputs = {tensor: array[part] for tensor, array in self.inputs.items()}
            yield start, replace(self, inputs=inputs)


@dataclass(frozen=True)
class Reply:
    """The outputs that a request asked for, of the same R rows.

    Attributes:
        outputs: one array for each output asked for, as the contract shapes it.
        about: where each row comes from, R of them.
    """

    outputs: Mapping[Tensor, Array]
    about: tuple[ReplyInfo, ...]

    def __getitem__(self, tensor: Tensor) -> Array:
        return self.outputs[tensor]

    @classmethod
    def joined(cls, replies: Sequence[Reply]) -> Reply:
        """Put the replies to the chunks of one request end to end."""
        if len(replies) == 1:
            return replies[0]
        return cls(
            {
                tensor: np.concatenate([reply[tensor] for reply in replies])
                for tensor in replies[0].outputs
            },
            tuple(about for reply in replies for about in reply.about),
        )
