"""What a running server tells Prometheus, after calls that are known."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tritonclient.grpc as triton
from exported import Exported
from scrape import Scrape, scrape_when
from tiny import WINDOW

from megatick_client import BadRequest, Client
from megatick_contract import STAGES
from megatick_server.launcher import ServeOptions, TritonServer
from megatick_server.metrics import METRICS, Histogram

pytestmark = pytest.mark.triton

PRICES = [100.0, 101.0, 102.0]
TEXTS = ["up", "down", "x" * (WINDOW + 1)]  # a token a letter
SCORER = {"model": "scorer"}


@pytest.fixture(scope="module")
def server(exported: Exported) -> Iterator[TritonServer]:
    options = ServeOptions(grpc_port=0, metrics_port=0, cached_texts=100)
    with TritonServer(Path(exported.out), options) as server:
        yield server


@pytest.fixture(scope="module")
def answers(server: TritonServer) -> list[Any]:
    """Three texts, one of them again in the backfill lane, a market view, a bad text."""
    with Client(server.endpoints.grpc, timeout_s=30) as client:
        sentiments = list(client.score(TEXTS))
        view = client.market_view("all is well", PRICES)
        client.forecast(PRICES)
        with pytest.raises(BadRequest):
            client.score([" "])
    with triton.InferenceServerClient(server.endpoints.grpc) as raw:
        text = triton.InferInput("TEXT", [1, 1], "BYTES")
        text.set_data_from_numpy(np.array([[b"up"]], object))
        raw.infer("sentiment", [text], parameters={"lane": "backfill"})
        with pytest.raises(triton.InferenceServerException):
            raw.infer("sentiment", [text], parameters={"lane": "express"})
    return [*sentiments, view.sentiment, sentiments[0]]


@pytest.fixture(scope="module")
def found(server: TritonServer, answers: list[Any]) -> Scrape:
    assert answers
    endpoint = server.endpoints.metrics
    assert endpoint is not None
    return scrape_when(
        endpoint,
        lambda got: (
            "megatick_request_seconds_count" in got.names
            and got.total("megatick_requests_total", **SCORER) == 5
            and got.total("megatick_requests_total", model="price_forecast") == 1
            and got.total("megatick_request_seconds_count") == 3
        ),
    )


def test_every_metric_is_there(found: Scrape) -> None:
    for metric in METRICS:
        name = metric.name
        if isinstance(metric, Histogram):
            assert {f"{name}_bucket", f"{name}_count"} <= found.names
        else:
            assert name in found.names


def test_requests_are_told_by_what_became_of_them(found: Scrape) -> None:
    assert found.of("megatick_rejections_total", **SCORER, reason="invalid") == 2
    assert found.total("megatick_rejections_total") == 2
    assert found.total("megatick_failures_total") == 0
    assert found.of("megatick_request_seconds_count", **SCORER, lane="live") == 2
    assert found.of("megatick_request_seconds_count", **SCORER, lane="backfill") == 1


def test_each_stage_is_timed_once_a_request(found: Scrape) -> None:
    name = "megatick_stage_seconds"
    counts = [found.of(f"{name}_count", **SCORER, stage=stage) for stage in STAGES]
    assert counts == [3, 3, 3, 3, 1]
    assert found.of(f"{name}_count", model="price_forecast", stage="price_forecast") == 1
    for stage in STAGES:
        seconds = found.of(f"{name}_sum", **SCORER, stage=stage)
        assert 0 < seconds < 10
        assert found.of(f"{name}_bucket", **SCORER, stage=stage, le="10") == found.of(
            f"{name}_count", **SCORER, stage=stage
        )


def test_runs_hold_the_texts_tokens_and_nothing_else(found: Scrape) -> None:
    # "up" came twice and ran once.
    tokens = len("up") + len("down") + WINDOW + len("all is well")
    assert found.of("megatick_batch_tokens_sum", **SCORER) == tokens
    assert found.of("megatick_batch_rows_sum", **SCORER) == 4
    assert found.of("megatick_padding_tokens_total", **SCORER) == 0
    assert found.of("megatick_attention_padding_tokens_total", **SCORER) <= tokens
    assert found.of("megatick_batch_seconds_sum", **SCORER) > 0


def test_truncations_and_the_cache_are_counted(found: Scrape) -> None:
    assert found.of("megatick_truncations_total", **SCORER) == 1
    assert found.of("megatick_cache_hits_total", **SCORER) == 1
    assert found.of("megatick_cache_misses_total", **SCORER) == 4


def test_labels_and_scores_are_those_that_were_answered(
    found: Scrape, answers: list[Any]
) -> None:
    for label in ("negative", "neutral", "positive"):
        expected = sum(answer.label == label for answer in answers)
        assert found.of("megatick_labels_total", **SCORER, label=label) == expected
    for bound in (*np.linspace(-0.8, 1, 10).round(1), math.inf):
        le = "+Inf" if math.isinf(bound) else f"{bound:g}"
        expected = sum(answer.score <= bound for answer in answers)
        assert found.of("megatick_score_bucket", **SCORER, le=le) == expected


def test_nothing_waits_once_all_is_answered(found: Scrape) -> None:
    for lane in ("live", "backfill"):
        assert found.of("megatick_waiting_requests", **SCORER, lane=lane) == 0
        assert found.of("megatick_waiting_tokens", **SCORER, lane=lane) == 0
