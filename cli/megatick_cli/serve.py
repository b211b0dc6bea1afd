"""``megatick serve``: run Triton on a model repository until it is told to stop."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from megatick_cli.serving import LogLines, run_until_signalled
from megatick_server.audit.settings import AuditSettings, OnFailure
from megatick_server.launcher.keys import ADMIN_KEY, CALLER_KEY, GRPC_PREFIX, AccessKey
from megatick_server.launcher.options import (
    LOOPBACK,
    SAFE_CONTAINER,
    TRITON_RELEASE,
    Api,
    ServeOptions,
)
from megatick_server.launcher.tls import ServerTls

_OPEN: Final = "What to open"
_GUARD: Final = "Who may call (docs/security.md)"
_AUDIT: Final = "What is recorded (docs/audit.md)"


def serve(
    repository: Annotated[
        Path, typer.Argument(help="Model repository, written by `megatick export`.")
    ],
    address: Annotated[
        str, typer.Option(help="IPv4 address on which gRPC and HTTP listen.")
    ] = LOOPBACK,
    grpc_port: Annotated[
        int, typer.Option(help="TCP port of gRPC; 0 picks a free one.")
    ] = 8001,
    http_port: Annotated[
        int | None,
        typer.Option(
            help="Open HTTP on this TCP port; 0 picks a free one.",
            show_default="closed",
            rich_help_panel=_OPEN,
        ),
    ] = None,
    metrics_port: Annotated[
        int, typer.Option(help="TCP port of Prometheus metrics; 0 picks a free one.")
    ] = 8002,
    metrics_address: Annotated[
        str, typer.Option(help="IPv4 address on which metrics listen.")
    ] = LOOPBACK,
    no_metrics: Annotated[
        bool, typer.Option("--no-metrics", help="Serve no metrics.")
    ] = False,
    opened: Annotated[
        list[Api] | None,
        typer.Option(
            "--open",
            help="Open one more part of Triton's API, beside health, metadata and "
            "inference; may be repeated.  model-repository lets callers load and "
            "unload models; perf_analyzer needs model-config and statistics.",
            show_default="none",
            rich_help_panel=_OPEN,
        ),
    ] = None,
    tls_certificate: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM",
            help="Speak TLS on gRPC, with this certificate.",
            show_default="in the clear",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    tls_key: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM",
            help="The certificate's private key, unencrypted.",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    tls_client_ca: Annotated[
        Path | None,
        typer.Option(
            metavar="PEM",
            help="Mutual TLS: let in only callers whose certificate this authority signed.",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    caller_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Want the secret that this file holds with every call of inference and "
            f"metadata, as the gRPC header {GRPC_PREFIX}{CALLER_KEY}.",
            show_default="no key",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    admin_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Let in whoever sends the secret that this file holds, as "
            f"{GRPC_PREFIX}{ADMIN_KEY}, to what --open does not open to all.",
            show_default="let in nobody",
            rich_help_panel=_GUARD,
        ),
    ] = None,
    trace_to: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Send traces to this OpenTelemetry collector, over OTLP in HTTP.",
            show_default="trace nothing",
        ),
    ] = None,
    trace_every: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=1,
            help="Trace one of N requests, beside those whose caller traces them.",
        ),
    ] = 1000,
    cpus: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            min=1,
            help="CPUs that the server may use; its threads follow.",
            show_default="all that this process may use",
        ),
    ] = None,
    cached_texts: Annotated[
        int,
        typer.Option(
            metavar="N",
            min=0,
            help="Keep the answers of the latest N texts.  Pays only where texts repeat.",
        ),
    ] = 0,
    audit: Annotated[
        Path | None,
        typer.Option(
            metavar="FOLDER",
            help="Record every reply in hash-chained files of this folder.",
            show_default="record nothing",
            rich_help_panel=_AUDIT,
        ),
    ] = None,
    audit_key_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Holds the secret that seals the records and hides the inputs.",
            rich_help_panel=_AUDIT,
        ),
    ] = None,
    audit_failure: Annotated[
        OnFailure,
        typer.Option(
            help="A reply that cannot be recorded (a full disk) is refused, or is given "
            "and counted.",
            rich_help_panel=_AUDIT,
        ),
    ] = "refuse",
    audit_sync_s: Annotated[
        float,
        typer.Option(
            "--audit-sync-s",
            metavar="SECONDS",
            min=0.0,
            help="How long a record may wait to be forced to the disk; 0: its reply waits "
            "for that.",
            rich_help_panel=_AUDIT,
        ),
    ] = 1.0,
    ready_timeout: Annotated[
        float, typer.Option(metavar="SECONDS", help="How long loading may take.")
    ] = 120.0,
    stop_timeout: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", help="How long requests in flight may take at the end."
        ),
    ] = 10.0,
    connection_age: Annotated[
        float | None,
        typer.Option(
            metavar="SECONDS",
            help="Have callers connect anew after so long, so that behind a load balancer "
            "they find servers that came and leave those that go (docs/kubernetes.md).",
            show_default="never",
        ),
    ] = None,
    verbose: Annotated[
        bool, typer.Option("--verbose", "-v", help="Show Triton's log.")
    ] = False,
    log_verbose: Annotated[
        int, typer.Option(metavar="LEVEL", min=0, help="Triton's --log-verbose.")
    ] = 0,
) -> None:
    """Serve a model repository with Triton until Ctrl+C or SIGTERM.

    Unless an option opens more, only this machine can reach it, and only inference,
    health and metadata over gRPC, and metrics, are open.

    SIGUSR1 has it load REPOSITORY as it is then, while it goes on serving; if that does not
    load, it says so and serves what it had.

    Exit status: 0 stopped on request; 1 could not start, or ended on its own (one
    message on stderr says why); 2 bad usage.
    """
    from megatick_server.errors import AuditError, OptionsError
    from megatick_server.launcher import TritonServer

    try:
        options = ServeOptions(
            address=address,
            grpc_port=grpc_port,
            http_port=http_port,
            metrics_port=None if no_metrics else metrics_port,
            metrics_address=metrics_address,
            opened=frozenset(opened or ()),
            tls=ServerTls.of(tls_certificate, tls_key, tls_client_ca),
            caller_key=_key("caller key", caller_key_file),
            admin_key=_key("admin key", admin_key_file),
            trace_url=trace_to,
            trace_every=trace_every,
            ready_timeout_s=ready_timeout,
            stop_timeout_s=stop_timeout,
            connection_age_s=connection_age,
            log_verbose=log_verbose,
            cpus=cpus,
            cached_texts=cached_texts,
            audit=_audit(audit, audit_key_file, audit_failure, audit_sync_s),
        )
    except (OptionsError, AuditError) as error:
        raise typer.BadParameter(str(error)) from error
    warn_of_exposures(options, Console(stderr=True))
    log = LogLines(everything=verbose)
    server = TritonServer(repository, options, on_log=log)
    run_until_signalled(server, Console(), log)


def _audit(
    folder: Path | None, key_file: Path | None, on_failure: OnFailure, sync_s: float
) -> AuditSettings | None:
    if folder is None or key_file is None:
        if folder or key_file:
            raise typer.BadParameter("give --audit and --audit-key-file together")
        return None
    settings = AuditSettings(folder, key_file, on_failure, sync_s)
    settings.check()
    return settings


def _key(option: str, file: Path | None) -> AccessKey | None:
    return None if file is None else AccessKey.read(file, option=option)


def warn_of_exposures(options: ServeOptions, console: Console) -> None:
    """Print what the options open and why that is a risk; nothing by default."""
    if not options.exposures:
        return
    console.print("[bold yellow]warning:[/] this opens more than the defaults:")
    for exposure in options.exposures:
        console.print(f"  • {exposure}", markup=False, highlight=False, soft_wrap=True)
    console.print(
        f"  {TRITON_RELEASE}, which this runs, predates the security fixes of release "
        f"25.07.  For callers you do not trust, run NVIDIA's container "
        f"{SAFE_CONTAINER} or later on the same repository.",
        highlight=False,
        soft_wrap=True,
    )
