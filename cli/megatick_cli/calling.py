"""How to call a server that runs, to be shown beside what it serves."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import zip_longest
from typing import TYPE_CHECKING

from rich.panel import Panel
from rich.table import Table

from megatick_contract import OPTIONAL_MODELS, PUBLIC_MODELS, SENTIMENT
from megatick_server.launcher.keys import CALLER_KEY, GRPC_PREFIX

if TYPE_CHECKING:
    from megatick_server.launcher import Repository, TritonServer


def digest(repository: Repository) -> str:
    """Shorten the digest of its model to what is shown."""
    return repository.model_digest[:12] or "none"


def panel(server: TritonServer) -> Panel:
    """What a server serves, where, and how to call it from Python."""
    endpoints = server.endpoints
    models = server.repository.models
    known = PUBLIC_MODELS + OPTIONAL_MODELS
    public = [each.name for each in known if each.name in models]
    rows = Table.grid(padding=(0, 2))
    rows.add_column(style="bold")
    rows.add_column(overflow="fold")
    rows.add_row("models", ", ".join(public or models))
    rows.add_row("digest", digest(server.repository))
    rows.add_row("gRPC", endpoints.grpc)
    if endpoints.http is not None:
        rows.add_row("HTTP", f"http://{endpoints.http}/v2")
    if endpoints.metrics is not None:
        rows.add_row("metrics", f"http://{endpoints.metrics}/metrics")
    if SENTIMENT.name in models:
        rows.add_row()
        for label, line in zip_longest(["Python"], _example(server), fillvalue=""):
            rows.add_row(label, line)
    return Panel(
        rows,
        title=f"Serving {server.repository.path}",
        subtitle="Ctrl+C stops it",
        title_align="left",
        subtitle_align="left",
        expand=False,
    )


def _example(server: TritonServer) -> Iterator[str]:
    """Lines of Python that score a headline; a reader fills the dots in."""
    options = server.options
    host, _, port = server.endpoints.grpc.rpartition(":")
    address = f'"{"…" if host == "0.0.0.0" else host}:{port}"'  # noqa: S104
    guards = []
    if options.tls is not None:
        files = "ca=…, certificate=…, key=…" if options.tls.client_ca else "ca=…"
        guards.append(f"tls=Tls({files})")
    if options.caller_key is not None:
        guards.append(f'headers={{"{GRPC_PREFIX}{CALLER_KEY}": "…"}}')
    yield f"from megatick_client import Client{', Tls' if options.tls else ''}"
    if guards:
        yield "Client("
        yield from (f"    {argument}," for argument in (address, *guards))
        yield ').score(["Profit rose 20 %"])'
    else:
        yield f'Client({address}).score(["Profit rose 20 %"])'


def curl_command(server: TritonServer) -> str | None:
    """A command that scores a headline over HTTP; None if that is closed."""
    http = server.endpoints.http
    if http is None or SENTIMENT.name not in server.repository.models:
        return None
    body = (
        '{"inputs":[{"name":"TEXT","datatype":"BYTES","shape":[1,1],'
        '"data":["Profit rose 20 %"]}]}'
    )
    header = f"-H '{CALLER_KEY}: …' " if server.options.caller_key is not None else ""
    return f"curl {header}http://{http}/v2/models/{SENTIMENT.name}/infer -d '{body}'"
