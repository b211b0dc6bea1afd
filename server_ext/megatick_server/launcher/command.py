"""The arguments of ``tritonserver``: a closed server, opened only where asked."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from megatick_server.launcher.endpoints import Endpoints
from megatick_server.launcher.installation import Installation
from megatick_server.launcher.keys import ADMIN_KEY, CALLER_KEY
from megatick_server.launcher.options import ServeOptions
from megatick_server.launcher.tls import ServerTls

CLOSED_HEADER: Final = "Closed-See-megatick-serve---help"
"""Triton names the header it wants in its refusal, so the name says what to do.

A capital letter is illegal in an HTTP/2 header name and the gRPC server drops the whole
request (tried, with the right value): nobody can send it.
"""


REQUESTS_KEPT: Final = 1024
"""Requests whose memory Triton keeps for the next ones.  With its default, 8, streams of 64
in flight took Triton 2.51 down by signal 11 in four of five runs; 123,000 calls went
through with this one (docs/decisions/0011)."""


def triton_command(
    installation: Installation,
    *,
    repository: Path,
    backends: Path,
    endpoints: Endpoints,
    options: ServeOptions,
    shm_prefix: str,
) -> list[str]:
    """Build the command line.

    Args:
        installation: the wheel's server.
        repository: the model repository.
        backends: the prepared backend directory.
        endpoints: where to listen.
        options: everything else.
        shm_prefix: how this server's shared-memory segments are named.
    """
    return [
        str(installation.binary),
        f"--model-repository={repository}",
        f"--backend-directory={backends}",
        f"--backend-config=python,shm-region-prefix-name={shm_prefix}",
        # A server that loaded half of its models must not look ready; both are
        # Triton's defaults, but too much hangs on them to leave them unsaid.
        "--exit-on-error=true",
        "--strict-readiness=true",
        # The configs are complete.  Otherwise every step is started twice.
        "--disable-auto-complete-config",
        f"--exit-timeout-secs={max(1, round(options.stop_timeout_s))}",
        f"--log-verbose={options.log_verbose}",
        "--pinned-memory-pool-byte-size=0",  # for copies to a GPU
        *_grpc(endpoints.grpc, options),
        *_http(endpoints.http, options),
        *_metrics(endpoints.metrics),
        *_model_control(options),
        *_traces(options),
    ]


def _grpc(endpoint: str, options: ServeOptions) -> Iterator[str]:
    yield from _listen("grpc", endpoint)
    # Of Triton's 8, the ninth request in flight on streams is freed while it is in use.
    yield f"--grpc-infer-allocation-pool-size={REQUESTS_KEPT}"
    if options.connection_age_s is not None:
        yield f"--grpc-max-connection-age={round(options.connection_age_s * 1000)}"
    if options.tls is not None:
        yield from _tls(options.tls)
    yield from _restrict("--grpc-restricted-protocol", options)


def _http(endpoint: str | None, options: ServeOptions) -> Iterator[str]:
    if endpoint is None:
        yield "--allow-http=false"
        return
    yield from _listen("http", endpoint)
    yield from _restrict("--http-restricted-api", options)


def _metrics(endpoint: str | None) -> Iterator[str]:
    if endpoint is None:
        yield "--allow-metrics=false"
        return
    yield from _listen("metrics", endpoint)
    yield "--allow-gpu-metrics=false"


def _listen(service: str, endpoint: str) -> Iterator[str]:
    address, port = endpoint.split(":")
    yield f"--{service}-address={address}"
    yield f"--{service}-port={port}"


def _tls(tls: ServerTls) -> Iterator[str]:
    # Triton runs in a directory of its own.
    yield "--grpc-use-ssl=true"
    yield f"--grpc-server-cert={tls.certificate.absolute()}"
    yield f"--grpc-server-key={tls.key.absolute()}"
    if tls.client_ca is not None:
        yield "--grpc-use-ssl-mutual=true"
        yield f"--grpc-root-cert={tls.client_ca.absolute()}"


def _restrict(flag: str, options: ServeOptions) -> Iterator[str]:
    """Ask for the keys; without an admin's, for a header that nobody could send.

    A command line is no place for a secret, any local user can read it, and Triton takes
    its keys nowhere else.  So the closed header's value holds a line feed, which no HTTP
    header can (tried), beside CLOSED_HEADER's capital.
    """
    if options.caller_key is not None:
        yield f"{flag}=inference,metadata:{CALLER_KEY}={options.caller_key.value}"
    if options.restricted:
        if options.admin_key is not None:
            key = f"{ADMIN_KEY}={options.admin_key.value}"
        else:
            key = f"{CLOSED_HEADER}={secrets.token_hex(16)}\n{secrets.token_hex(16)}"
        yield f"{flag}={','.join(options.restricted)}:{key}"


def _model_control(options: ServeOptions) -> Iterator[str]:
    """Let callers load models, where that is open; else Triton follows our link."""
    if options.callers_load:
        yield "--model-control-mode=explicit"
        yield "--load-model=*"
    else:
        yield "--model-control-mode=poll"
        yield "--repository-poll-secs=1"


def _traces(options: ServeOptions) -> Iterator[str]:
    if options.trace_url is not None:
        yield "--trace-config=mode=opentelemetry"
        yield f"--trace-config=opentelemetry,url={options.trace_url}"
        yield "--trace-config=level=TIMESTAMPS"
        # Of those without a traceparent; the others are always traced, even where it says
        # that they are not sampled (tried).
        yield f"--trace-config=rate={options.trace_every}"
