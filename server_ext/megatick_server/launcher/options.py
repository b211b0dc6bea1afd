"""What a server is asked to be: where it listens, and which doors are open."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

from megatick_server.audit.settings import AUDIT_VARIABLE, AuditSettings
from megatick_server.environment import CACHED_TEXTS_VARIABLE
from megatick_server.errors import OptionsError
from megatick_server.launcher.keys import AccessKey
from megatick_server.launcher.tls import ServerTls

LOOPBACK: Final = "127.0.0.1"

DAY_S: Final = 86_400.0
"""The longest timeout; Triton counts its own in 32 bits."""

TRITON_RELEASE: Final = "Triton 2.51.0 (release 24.10)"
SAFE_CONTAINER: Final = "nvcr.io/nvidia/tritonserver:25.07-py3"
"""The first release with the fixes that TRITON_RELEASE lacks.

Source: triton-inference-server/pytriton issue 108; NVIDIA security bulletin
"Triton Inference Server - August 2025".
"""


class Api(StrEnum):
    """A part of Triton's API that stays restricted until it is opened by name.

    The values are Triton's own, see ``tritonserver --help`` at
    ``--grpc-restricted-protocol``.  What is not listed (health, metadata, inference)
    is what a server is for, and always open.  Statistics are restricted too, since
    metrics count the same on a port of their own; perf_analyzer wants them, and the
    model configs.
    """

    SHARED_MEMORY = "shared-memory"
    MODEL_REPOSITORY = "model-repository"
    MODEL_CONFIG = "model-config"
    STATISTICS = "statistics"
    TRACE = "trace"
    LOGGING = "logging"


RISKS: Final[dict[Api, str]] = {
    Api.SHARED_MEMORY: (
        "a caller can take over the server through registered shared memory "
        "(CVE-2025-23319, CVE-2025-23320, CVE-2025-23334)"
    ),
    Api.MODEL_REPOSITORY: (
        "a caller can unload models, and load one with files of his own, which is "
        "running code"
    ),
    Api.MODEL_CONFIG: "a caller can read every setting and path in the models' configs",
    Api.STATISTICS: "a caller can see how much every model is used",
    Api.TRACE: "a caller can switch tracing on and off, which costs speed",
    Api.LOGGING: "a caller can silence the log",
}


@dataclass(frozen=True, kw_only=True)
class ServeOptions:
    """How to run one server.  The defaults expose nothing beyond this machine.

    Attributes:
        address: IPv4 address on which gRPC and HTTP listen.
        grpc_port: TCP port; 0 picks a free one.
        http_port: TCP port; None keeps HTTP closed; 0 picks a free one.
        metrics_port: TCP port of Prometheus metrics; None closes them; 0 picks one.
        metrics_address: IPv4 address on which metrics listen.
        opened: APIs that are not restricted, beyond health, metadata and inference.
            ``MODEL_REPOSITORY`` also lets callers load and unload models.
        tls: of gRPC; None talks in the clear.  Triton's HTTP has none.
        caller_key: what callers of inference and metadata must send; None asks for none.
            Health is open without.
        admin_key: what opens the APIs that are restricted; None keeps them closed to all.
        trace_url: OpenTelemetry collector that gets a trace of requests, over OTLP in HTTP,
            such as ``http://127.0.0.1:4318/v1/traces``; None traces nothing.
        trace_every: of how many requests one is traced, ≥ 1, beside those whose caller
            traces them.
        ready_timeout_s: how long loading may take, in seconds, > 0 and at most a day.
        stop_timeout_s: how long a stop waits for requests in flight before the process
            is killed, in seconds, ≥ 0 and at most a day.
        connection_age_s: how old a gRPC connection may grow, in seconds, at least 1 and at
            most a day; Triton lets it grow up to a tenth older, and answers what is in
            flight on it.  Its caller connects anew and finds whoever is behind the address
            by then.  None lets it stand.
        log_verbose: Triton's verbosity, ≥ 0.
        cpus: CPUs that the server may use, ≥ 1 and no more than this process may: the first
            of them; None takes all.
        cached_texts: texts whose answers are kept, ≥ 0.
        audit: where every reply is recorded; None records none.
    """

    address: str = LOOPBACK
    grpc_port: int = 8001
    http_port: int | None = None
    metrics_port: int | None = 8002
    metrics_address: str = LOOPBACK
    opened: frozenset[Api] = frozenset()
    tls: ServerTls | None = None
    caller_key: AccessKey | None = None
    admin_key: AccessKey | None = None
    trace_url: str | None = None
    trace_every: int = 1000
    ready_timeout_s: float = 120.0
    stop_timeout_s: float = 10.0
    connection_age_s: float | None = None
    log_verbose: int = 0
    cpus: int | None = None
    cached_texts: int = 0
    audit: AuditSettings | None = None

    def __post_init__(self) -> None:
        """Refuse what Triton would misread.

        Raises:
            OptionsError: an option is out of its range, two ports are equal, two keys are,
                or HTTP should be open beside TLS.
        """
        for option, address in (
            ("address", self.address),
            ("metrics address", self.metrics_address),
        ):
            try:
                ipaddress.IPv4Address(address)
            except ValueError as error:
                raise OptionsError(
                    option, expected="an IPv4 address such as 127.0.0.1", found=address
                ) from error
        ports = {
            "gRPC port": self.grpc_port,
            "HTTP port": self.http_port,
            "metrics port": self.metrics_port,
        }
        seen: dict[int, str] = {}
        for option, port in ports.items():
            if port is None:
                continue
            if not 0 <= port <= 65535:
                raise OptionsError(option, expected="0 to 65535", found=port)
            if port and port in seen:
                raise OptionsError(
                    option, expected=f"another port than the {seen[port]}", found=port
                )
            seen[port] = option
        if self.tls is not None and self.http_port is not None:
            raise OptionsError(
                "HTTP port",
                expected="none beside a TLS certificate, since Triton's HTTP has no TLS",
                found=self.http_port,
            )
        if self.caller_key is not None and self.caller_key == self.admin_key:
            raise OptionsError(
                "admin key", expected="another than the caller key", found="the same"
            )
        if not 0 < self.ready_timeout_s <= DAY_S:
            raise OptionsError(
                "ready timeout",
                expected=f"more than 0 s, at most {DAY_S:.0f} s",
                found=self.ready_timeout_s,
            )
        if not 0 <= self.stop_timeout_s <= DAY_S:
            raise OptionsError(
                "stop timeout", expected=f"0 to {DAY_S:.0f} s", found=self.stop_timeout_s
            )

        if self.connection_age_s is not None and not 1 <= self.connection_age_s <= DAY_S:
            raise OptionsError(
                "connection age",
                expected=f"1 to {DAY_S:.0f} s",
                found=self.connection_age_s,
            )
        if self.trace_url is not None and not _is_url(self.trace_url):
            raise OptionsError(
                "trace URL",
                expected="such as http://127.0.0.1:4318/v1/traces",
                found=self.trace_url,
            )
        if self.trace_every < 1:
            raise OptionsError("trace every", expected="at least 1", found=self.trace_every)
        allowed = len(os.sched_getaffinity(0))
        if self.cpus is not None and not 1 <= self.cpus <= allowed:
            expected = f"1 to {allowed}, as many as this process may use"
            raise OptionsError("CPUs", expected=expected, found=self.cpus)
        if self.cached_texts < 0:
            raise OptionsError(
                "cached texts", expected="0 or more", found=self.cached_texts
            )

    @property
    def variables(self) -> dict[str, str]:
        """What the steps are told, in environment variables."""
        return {
            CACHED_TEXTS_VARIABLE: str(self.cached_texts),
            AUDIT_VARIABLE: self.audit.variable if self.audit else "",
        }

    @property
    def restricted(self) -> tuple[Api, ...]:
        """The APIs that nobody can call, or holders of the admin key alone."""
        return tuple(api for api in Api if api not in self.opened)

    @property
    def callers_load(self) -> bool:
        """Whether callers can load and unload models, those with an admin key included.

        Triton then loads what they say, and follows no repository by itself.
        """
        return Api.MODEL_REPOSITORY in self.opened or self.admin_key is not None

    @property
    def exposures(self) -> tuple[str, ...]:
        """What these options open beyond the defaults, and the risk of each."""
        found: list[str] = []
        if not ipaddress.IPv4Address(self.address).is_loopback and self._unguarded:
            found.append(
                f"address {self.address}: whoever reaches this machine can call the "
                f"server, {self._unguarded}"
            )
        if (
            self.metrics_port is not None
            and not ipaddress.IPv4Address(self.metrics_address).is_loopback
        ):
            found.append(
                f"metrics on {self.metrics_address}: whoever reaches this machine can "
                "see model names and traffic"
            )
        if self.http_port is not None:
            found.append(
                "HTTP: a caller can overflow the server's stack with chunked requests "
                "(CVE-2025-23310, CVE-2025-23311)"
            )
        found += [f"{api}: {RISKS[api]}" for api in Api if api in self.opened]
        if self.admin_key is not None:
            found.append(
                f"admin key: {RISKS[Api.MODEL_REPOSITORY]}, if he holds the key; Triton "
                "takes it on its command line, which every user of this machine can read"
            )
        return tuple(found)

    @property
    def _unguarded(self) -> str:
        """In what way calls from elsewhere are; empty where they are guarded."""
        known = self.caller_key or (self.tls and self.tls.client_ca)
        ways = [] if known else ["unauthenticated"]
        if self.tls is None:
            ways.append("in the clear")
        return " and ".join(ways)


def _is_url(text: str) -> bool:
    """Tell whether this is a plain URL of HTTP; a comma would end Triton's option."""
    parts = urlsplit(text)
    return (
        parts.scheme in ("http", "https")
        and bool(parts.hostname)
        and text.isprintable()
        and not {" ", ","} & set(text)
    )
