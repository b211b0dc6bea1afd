"""A scorer whose server fails in passing: what is forgiven, and for how long."""

from __future__ import annotations

import time
from typing import Any

import grpc  # type: ignore[import-untyped]
import pytest
from batch_world import Troubled, score_of

from megatick_client import Client
from megatick_client.batches import ServersSilent
from megatick_client.batches.one_model import OneModel
from megatick_client.batches.scoring import Scorer
from megatick_client.batches.settings import BatchSettings


def fail_first(endpoint: Troubled, times: int, code: grpc.StatusCode) -> None:
    """Let the first calls end with that code."""
    check = endpoint.check

    def failing(texts: list[str], context: Any) -> None:
        if len(endpoint.requests) <= times:
            context.abort(code, "told to fail")
        check(texts, context)

    endpoint.check = failing  # type: ignore[method-assign]


def test_time_without_a_request_is_no_silence(client: Client, endpoint: Troubled) -> None:
    """As when a slow disk, or all texts being known, leave nothing to ask for an hour."""
    fail_first(endpoint, 1, grpc.StatusCode.DEADLINE_EXCEEDED)
    hour_ago_s = time.monotonic() - 3600
    scorer = Scorer(
        client, BatchSettings(patience_s=60), OneModel(), _answered_s=hour_ago_s
    )

    assert scorer(["up +"]).score[0] == pytest.approx(score_of("up +"), abs=1e-6)
    assert len(endpoint.requests) == 2


def test_no_answer_for_longer_than_it_is_patient(
    client: Client, endpoint: Troubled
) -> None:
    fail_first(endpoint, 10**6, grpc.StatusCode.DEADLINE_EXCEEDED)

    with pytest.raises(ServersSilent, match="no server answered for 4 s"):
        Scorer(client, BatchSettings(patience_s=4), OneModel())(["up +"])

    assert len(endpoint.requests) > 1


def test_a_server_that_fails_once_condemns_no_row(
    client: Client, endpoint: Troubled
) -> None:
    fail_first(endpoint, 1, grpc.StatusCode.INTERNAL)

    answers = Scorer(client, BatchSettings(), OneModel())(["up +"])

    assert answers.problems == {}
    assert answers.score[0] == pytest.approx(score_of("up +"), abs=1e-6)
    assert len(endpoint.requests) == 3  # the text, a harmless one, the text again


def test_a_row_on_which_it_fails_twice_is_condemned(
    client: Client, endpoint: Troubled
) -> None:
    answers = Scorer(client, BatchSettings(), OneModel())(["up +", "crash"])

    assert answers.problems == {1: "the server failed on it: told to crash"}
    assert answers.score[0] == pytest.approx(score_of("up +"), abs=1e-6)
