"""A round of live calls beside a backfill, with a stand-in for the client."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest
from priorities import one_round, ratio

from megatick_client import AsyncClient, Sentiment
from megatick_client.replies import ReplyInfo
from megatick_client.sentiments import Probabilities

ANSWER = Sentiment(
    "x",
    "neutral",
    0.0,
    Probabilities(0, 1, 0),
    1,
    truncated=False,
    reply=ReplyInfo("", "a:1"),
)
BACKFILL_S = 0.1


class StandIn:
    """Answers live calls at once, a backfill's after a while; counts both."""

    def __init__(self) -> None:
        self.live: list[str] = []
        self.backfill: list[list[str]] = []
        self.running = 0
        self.most = 0

    async def score(self, told: Any, *, priority: str = "live") -> Sentiment:
        if priority == "live":
            self.live.append(told)
            return ANSWER
        self.backfill.append(told)
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(BACKFILL_S)
        self.running -= 1
        return ANSWER


def play(in_flight: int) -> tuple[StandIn, Any]:
    stand_in = StandIn()
    texts = [f"text {number}" for number in range(100)]
    found = asyncio.run(
        one_round(cast(AsyncClient, stand_in), texts, [0.0, 0.1, 0.35], in_flight)
    )
    return stand_in, found


def test_alone() -> None:
    stand_in, found = play(in_flight=0)

    assert len(found.called) == len(stand_in.live) == 3
    assert found.backfill_per_s == 0
    assert not stand_in.backfill


def test_beside_a_backfill() -> None:
    stand_in, found = play(in_flight=4)

    assert len(found.called) == len(stand_in.live) == 3
    assert stand_in.most == 4
    assert stand_in.running == 0
    assert {len(chunk) for chunk in stand_in.backfill} == {32}
    assert stand_in.backfill[0] != stand_in.backfill[4]
    # 4 calls of 32 rows each 0.1 s, at the most.
    assert 0 < found.backfill_per_s <= 4 * 32 / BACKFILL_S * 1.3


@pytest.mark.parametrize(
    ("over", "under", "expected"), [(3.0, 2.0, 1.5), (None, 2.0, None), (3.0, None, None)]
)
def test_ratio(over: float | None, under: float | None, expected: float | None) -> None:
    assert ratio(over, under) == expected
