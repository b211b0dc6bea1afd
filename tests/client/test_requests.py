"""A call as tensors and parameters."""

from __future__ import annotations

import numpy as np
import pytest

from megatick_client import BadRequest
from megatick_client.requests import Request
from megatick_contract import PRICE_FORECAST, SENTIMENT, Model
from megatick_contract.text import SCORE, TEXT

REQUEST = Request(
    SENTIMENT,
    inputs={TEXT: np.array([[b"up"], [b"down"]], object)},
    outputs=(SCORE,),
    parameters={"truncation": "tail"},
)


def test_a_lane_is_told_beside_the_other_parameters_and_in_every_chunk() -> None:
    chunks = list(REQUEST.in_lane("backfill").chunks(1))

    assert [start for start, _ in chunks] == [0, 1]
    for _, chunk in chunks:
        assert chunk.parameters == {"truncation": "tail", "lane": "backfill"}


def test_a_request_is_cut_as_its_model_takes_rows() -> None:
    def rows(model: Model, of: int) -> list[int]:
        request = Request(model, {TEXT: np.zeros((of, 1))}, ())
        return [chunk.rows for _, chunk in request.chunks()]

    assert rows(SENTIMENT, 70) == [32, 32, 6]  # what a GPU's engine takes
    assert rows(PRICE_FORECAST, 300) == [256, 44]  # no engine runs it
    assert rows(PRICE_FORECAST, 256) == [256]
    with pytest.raises(ValueError, match="must not be zero"):
        next(REQUEST.chunks(0))


@pytest.mark.parametrize("priority", ["express", None, 1, ["live"]])
def test_an_unknown_priority_is_refused(priority: object) -> None:
    with pytest.raises(BadRequest, match="priority: expected one of live, backfill, found"):
        REQUEST.in_lane(priority)
