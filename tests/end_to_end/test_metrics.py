"""What a running server tells Prometheus, after calls that are known."""

from __future__ import annotations

import json
import math
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import numpy as np
import psutil
import pytest
import tritonclient.grpc as triton
from exported import Exported
from monitoring import (
    FOLDER,
    Query,
    alerts,
    dashboard_queries,
    recorded,
    rule_queries,
)
from programs import find_tool
from scrape import WAIT_S, Scrape, scrape_when
from tiny import WINDOW

from megatick_client import BadRequest, Client
from megatick_contract import STAGES
from megatick_server.audit import AuditSettings
from megatick_server.launcher import ServeOptions, TritonServer
from megatick_server.metrics import METRICS, Histogram

pytestmark = pytest.mark.triton

PRICES = [100.0, 101.0, 102.0]
TEXTS = ["up", "down", "x" * (WINDOW + 1)]  # a token a letter
QUERIES = [*dashboard_queries(), *rule_queries()]
DRIFT = "megatick:score_drift"
SCORER = {"model": "scorer"}


@pytest.fixture(scope="module")
def server(
    exported: Exported, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    folder = tmp_path_factory.mktemp("audit")
    (folder / "key").write_text("0123456789abcdef" * 4)
    audit = AuditSettings(folder / "log", folder / "key")
    options = ServeOptions(grpc_port=0, metrics_port=0, cached_texts=100, audit=audit)
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
    counted = scrape_when(
        endpoint,
        lambda got: (
            "megatick_request_seconds_count" in got.names
            and got.total("megatick_requests_total", **SCORER) == 5
            and got.total("megatick_requests_total", model="price_forecast") == 1
            and got.total("megatick_request_seconds_count") == 3
        ),
    )
    # It is told one series after another: by the next round all of this one are.
    name = "megatick_told_timestamp_seconds"
    return scrape_when(
        endpoint,
        lambda got: all(
            got.of(name, model=model) > counted.of(name, model=model)
            for model in ("scorer", "price_forecast")
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


def test_each_request_that_a_step_read_is_recorded(found: Scrape) -> None:
    # Two texts' requests that were refused are replies too.
    assert found.of("megatick_audit_records_total", **SCORER) == 5
    assert found.of("megatick_audit_records_total", model="price_forecast") == 1
    assert found.total("megatick_audit_lost_total", reply="refused") == 0
    assert found.total("megatick_audit_waiting_records") == 0
    assert 1 <= found.of("megatick_audit_write_seconds_count", **SCORER) <= 5


def test_each_step_shows_that_it_is_alive(found: Scrape) -> None:
    for model in ("scorer", "price_forecast"):
        told = found.of("megatick_told_timestamp_seconds", model=model)
        assert 0 <= time.time() - told < 60


def test_whatever_the_dashboard_and_the_rules_ask_for_is_told(found: Scrape) -> None:
    asked = {name for query in QUERIES for name in query.metrics}

    of_prometheus = {"up"} | recorded()
    assert asked - of_prometheus <= found.names


@pytest.fixture(scope="module")
def prometheus(
    server: TritonServer, found: Scrape, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """The URL of a real Prometheus that scrapes the server by the shipped config."""
    binary = find_tool("prometheus")
    assert found.names
    folder = tmp_path_factory.mktemp("prometheus")
    config = (FOLDER / "prometheus.yml").read_text()
    assert "127.0.0.1:8002" in config
    config = config.replace("127.0.0.1:8002", str(server.endpoints.metrics))
    config = config.replace("_interval: 15s", "_interval: 1s")
    (folder / "prometheus.yml").write_text(config)
    rules = (FOLDER / "rules.yml").read_text().replace("interval: 1m", "interval: 1s")
    (folder / "rules.yml").write_text(rules)
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port = held.getsockname()[1]
    with subprocess.Popen(
        [
            binary,
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
            f"--web.listen-address=127.0.0.1:{port}",
        ],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def ask(prometheus: str, query: str) -> list[Any]:
    """The result of a query at this moment; while Prometheus starts, nothing."""
    url = f"{prometheus}/api/v1/query?{urlencode({'query': query})}"
    try:
        with urllib.request.urlopen(url) as reply:
            result: list[Any] = json.load(reply)["data"]["result"]
    except urllib.error.HTTPError as error:
        if error.code == 503:
            return []
        pytest.fail(f"{query}: {error.read().decode()}")
    except urllib.error.URLError:
        return []
    return result


def test_a_real_prometheus_answers_every_query(
    server: TritonServer, prometheus: str
) -> None:
    deadline = time.monotonic() + 4 * WAIT_S
    # Drift begins an hour after the first text.
    waiting = [each for each in dashboard_queries() if each.metrics != {DRIFT}]
    assert len(waiting) == len(dashboard_queries()) - 1
    waiting.append(Query("recorded", 'megatick:score_share:1h{le="+Inf"} > 0.99'))
    with Client(server.endpoints.grpc, timeout_s=30) as client:
        while waiting and time.monotonic() < deadline:
            client.score(TEXTS)  # so that there is growth to ask for
            client.forecast(PRICES)
            time.sleep(0.5)
            waiting = [query for query in waiting if not ask(prometheus, query.text)]
    assert waiting == []

    with urllib.request.urlopen(f"{prometheus}/api/v1/rules") as reply:
        groups = json.load(reply)["data"]["groups"]
    healths = {rule["name"]: rule["health"] for group in groups for rule in group["rules"]}
    assert set(healths) == {*alerts(), *recorded()}
    assert set(healths.values()) == {"ok"}
    with urllib.request.urlopen(f"{prometheus}/api/v1/alerts") as reply:
        raised = json.load(reply)["data"]["alerts"]
    assert [alert["labels"] for alert in raised if alert["state"] == "firing"] == []


def test_a_step_whose_process_died_falls_silent_while_the_port_answers(
    exported: Exported,
) -> None:
    options = ServeOptions(grpc_port=0, metrics_port=0)
    name = "megatick_told_timestamp_seconds"
    with TritonServer(Path(exported.out), options) as server:
        endpoint = str(server.endpoints.metrics)
        scrape_when(endpoint, lambda got: got.names >= {name} and got.count(name) == 2)
        (step,) = [
            process
            for process in psutil.Process(server.pid).children(recursive=True)
            if any("/scorer/" in argument for argument in process.cmdline())
        ]
        step.kill()
        died = time.time()

        alive = scrape_when(
            endpoint, lambda got: got.of(name, model="price_forecast") > died + 3
        )

    assert alive.of(name, model="scorer") <= died
    # And this server records nothing, of which it tells nothing.
    assert not [each for each in alive.names if each.startswith("megatick_audit")]
