"""A call as tensors and parameters."""

from __future__ import annotations

import numpy as np
import pytest

from megatick_client import BadRequest
from megatick_client.requests import Request
from megatick_contract import SENTIMENT
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


@pytest.mark.parametrize("priority", ["express", None, 1, ["live"]])
def test_an_unknown_priority_is_refused(priority: object) -> None:
    with pytest.raises(BadRequest, match="priority: expected one of live, backfill, found"):
        REQUEST.in_lane(priority)
