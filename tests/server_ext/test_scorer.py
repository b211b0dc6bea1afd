"""What becomes of a request before its rows wait for the engine."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from queue import SimpleQueue
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pytest

from megatick_contract.models import STAGE_US
from megatick_contract.rejections import Rejection
from megatick_contract.steps import INPUT_IDS, LOGITS, ROW_LENGTHS
from megatick_contract.text import SCORE, TEXT, TOKENS, TRUNCATED
from megatick_server.adapter import StepRequest
from megatick_server.errors import RequestDropped, RequestRefused
from megatick_server.meters import Meters
from megatick_server.row_cache import RowCache
from megatick_server.steps import scorer
from megatick_server.steps.scorer import LARGE_BYTES, Scorer

WAIT_S = 30.0


class Slow:
    """Tokenizes nothing, each time once it is let go; refuses what it was given."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.may_go = threading.Semaphore(0)
        self.busy = threading.Semaphore(0)

    def __call__(self, requests: list[StepRequest]) -> list[RequestRefused]:
        self.busy.release()
        assert self.may_go.acquire(timeout=WAIT_S)
        self.seen += [len(each.inputs[TEXT.name]) for each in requests]
        return [RequestRefused([Rejection(0, TEXT.name, "bad")], rows=1)]


@pytest.fixture
def slow() -> Slow:
    return Slow()


@pytest.fixture
def step(slow: Slow) -> Iterator[Scorer]:
    """One whose engine never has anything to do."""
    idle: Any = SimpleNamespace(check=lambda *_, **__: None, close=lambda: None)
    none: Any = None
    tokenizer: Any = slow
    step = Scorer(tokenizer, idle, none, none, RowCache(0), Meters("scorer"))
    yield step
    for _ in range(100):
        slow.may_go.release()
    step.close()


def large(rows: int, **more: Any) -> StepRequest:
    texts = np.array([[b"x" * (LARGE_BYTES // rows + 1)]] * rows, object)
    return StepRequest({TEXT.name: texts}, {}, frozenset({"SCORE"}), **more)


def test_what_expires_or_is_cancelled_before_it_is_tokenized_is_not(
    step: Scorer, slow: Slow, monkeypatch: pytest.MonkeyPatch
) -> None:
    now_s = 1000.0
    clock = SimpleNamespace(monotonic=lambda: now_s)
    monkeypatch.setattr(scorer, "time", clock)
    answers = [SimpleQueue[Any]() for _ in range(4)]
    requests = [
        large(1),
        large(2, timeout_s=2.0),
        large(3, cancelled=lambda: True),
        large(4, timeout_s=3.0),
    ]
    for request, answer in zip(requests, answers, strict=True):
        step.accept(request, answer.put)
    assert slow.busy.acquire(timeout=WAIT_S)
    now_s += 2.5
    for _ in range(2):
        slow.may_go.release()

    first, late, gone, good = (answer.get(timeout=WAIT_S) for answer in answers)
    assert isinstance(first, RequestRefused)
    assert isinstance(good, RequestRefused)
    assert isinstance(late, RequestDropped)
    assert (late.cause, str(late)) == (
        "expired",
        "Request timeout expired: it waited 2.5 s for its turn",
    )
    assert isinstance(gone, RequestDropped)
    assert gone.cause == "cancelled"
    assert slow.seen == [1, 4]


@pytest.mark.parametrize("known", [True, False])
def test_a_text_whose_answer_is_known_is_answered_however_long_the_others_wait(
    known: bool,
) -> None:
    ids = np.array([5, 7], np.int32)
    prepared = {
        INPUT_IDS.name: ids[None],
        ROW_LENGTHS.name: np.array([[2]], np.int32),
        TOKENS.name: np.array([[2]], np.int32),
        TRUNCATED.name: np.array([[False]]),
    }

    def check(*_: Any, **__: Any) -> None:
        raise RequestDropped("too_late", "others wait")

    def scores(requests: list[StepRequest]) -> list[Any]:
        return [
            {STAGE_US.name: np.zeros((1, 9)), SCORE.name: each.inputs[LOGITS.name][0]}
            for each in requests
        ]

    full: Any = SimpleNamespace(check=check, submit=check, close=lambda: None)
    tokenize: Any = lambda requests: [prepared]  # noqa: E731
    of_scores, none = cast("Any", scores), cast("Any", None)
    cache = RowCache(10)
    cache.put(ids if known else ids + 1, {LOGITS.name: np.array([0.25], np.float32)})
    step = Scorer(tokenize, full, of_scores, none, cache, Meters("scorer"))
    answer: SimpleQueue[Any] = SimpleQueue()
    texts = np.array([[b"profit rises"]], object)
    request = StepRequest({TEXT.name: texts}, {}, frozenset({SCORE.name}), timeout_s=0.1)

    if known:
        step.accept(request, answer.put)
        assert answer.get_nowait()[SCORE.name].tolist() == [[0.25]]
    else:
        with pytest.raises(RequestDropped, match="others wait"):
            step.accept(request, answer.put)
    step.close()
