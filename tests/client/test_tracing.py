"""OpenTelemetry's own instrumentation of gRPC sees the SDK's calls, and Triton joins in."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from endpoint import Endpoint, serve
from opentelemetry import trace
from opentelemetry.instrumentation.grpc import (
    GrpcAioInstrumentorClient,
    GrpcInstrumentorClient,
)
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, format_span_id, format_trace_id

from megatick_client import Client

if TYPE_CHECKING:
    from tests.client.conftest import MakeClient, StartTriton

TEXT, SCORE = "+", 0.25
RPC = "/inference.GRPCInferenceService/ModelInfer"


class Traced:
    """A program that traces, and the spans that have ended."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = self.provider.get_tracer("a trading system")

    def ended(self, name: str) -> list[Any]:
        return [span for span in self.exporter.get_finished_spans() if span.name == name]


@pytest.fixture(scope="module")
def program() -> Traced:
    """A process has one provider for good, and the instrumentation takes no other."""
    program = Traced()
    trace.set_tracer_provider(program.provider)
    return program


@pytest.fixture
def traced(program: Traced) -> Iterator[Traced]:
    """Switched on before a client is made."""
    program.exporter.clear()
    kinds: tuple[Any, ...] = (GrpcInstrumentorClient, GrpcAioInstrumentorClient)
    instrumentors = [kind() for kind in kinds]
    for each in instrumentors:
        each.instrument()
    yield program
    for each in instrumentors:
        each.uninstrument()


def test_each_sending_of_a_call_is_a_span(traced: Traced, make_client: MakeClient) -> None:
    """The first finds a full queue, and the second an answer."""
    endpoint = Endpoint(refuse=range(1))
    with serve(endpoint), make_client(endpoint.address) as client:
        assert client.score(TEXT).score == SCORE

    refused, answered = traced.ended(RPC)
    for span in (refused, answered):
        assert span.kind is SpanKind.CLIENT
        assert span.attributes["rpc.system"] == "grpc"
        assert span.attributes["rpc.service"] == "inference.GRPCInferenceService"
        assert span.attributes["rpc.method"] == "ModelInfer"
    assert refused.attributes["rpc.grpc.status_code"] == 14  # UNAVAILABLE
    assert not refused.status.is_ok
    assert answered.attributes["rpc.grpc.status_code"] == 0
    assert [each["traceparent"] for each in endpoint.headers] == [
        f"00-{format_trace_id(span.context.trace_id)}-{format_span_id(span.context.span_id)}"
        f"-{span.context.trace_flags:02x}"
        for span in (refused, answered)
    ]


def test_a_span_holds_no_text(traced: Traced) -> None:
    endpoint = Endpoint()
    with serve(endpoint), Client(endpoint.address, headers={"key": "secret"}) as client:
        client.score("a secret headline")

    (span,) = traced.ended(RPC)
    assert "secret" not in span.to_json()


def test_nothing_is_sent_where_nothing_traces(make_client: MakeClient) -> None:
    endpoint = Endpoint()
    with serve(endpoint), make_client(endpoint.address) as client:
        client.score(TEXT)

    assert "traceparent" not in endpoint.headers[0]


@contextmanager
def collector() -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """A receiver of OTLP in JSON: its URL, and the spans that have come."""
    spans: list[dict[str, Any]] = []

    class Receive(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for resource in body["resourceSpans"]:
                for scope in resource["scopeSpans"]:
                    spans.extend(scope["spans"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Receive) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/v1/traces", spans
        finally:
            server.shutdown()
            thread.join()


@pytest.mark.triton
def test_tritons_spans_join_the_callers_trace(
    traced: Traced, start_triton: StartTriton
) -> None:
    """Whatever share of the others the server traces."""
    with collector() as (url, spans):
        server = start_triton(
            "sentiment", "sentiment_step", trace_url=url, trace_every=1000
        )
        with (
            Client(server.endpoints.grpc) as client,
            traced.tracer.start_as_current_span("a trade") as trade,
        ):
            for _ in range(4):  # what it sends may be lost, and is not sent again
                client.score(TEXT)
                deadline_s = time.monotonic() + 12
                while len(spans) < 3 and time.monotonic() < deadline_s:
                    time.sleep(0.1)  # Triton sends them every five seconds
                if spans:
                    break
        server.stop()

    calls = {format_span_id(call.context.span_id) for call in traced.ended(RPC)}
    assert {each["traceId"] for each in spans} == {
        format_trace_id(trade.get_span_context().trace_id)
    }
    tops = {each["parentSpanId"] for each in spans if each["name"] == "InferRequest"}
    assert tops
    assert tops <= calls
    assert {"sentiment", "sentiment_step"} <= {each["name"] for each in spans}
    assert TEXT not in json.dumps(spans)
